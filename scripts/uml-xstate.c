// Lets an older user-mode Linux run on a CPU with AMX.
//
// User-mode Linux before 6.13 keeps 2,696 bytes of a process's vector registers. Linux takes them back
// only whole (arch/x86/kernel/fpu/regset.c, xstateregs_set), and with AMX the whole is 11,008 bytes:
// without this, the guest's init dies with "ptrace set fp regs failed, errno = 14". What is beyond is
// AMX's, which no process in the guest can use: it is filled up with zeros.
//
// Loaded before user-mode Linux (LD_PRELOAD) by scripts/lane-cgroup2.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static long (*real)(enum __ptrace_request, ...);
static char whole[64 * 1024] __attribute__((aligned(64)));
static size_t length; // of what this machine's kernel takes; 0: not asked yet

long ptrace(enum __ptrace_request request, ...)
{
    va_list list;
    va_start(list, request);
    int pid = va_arg(list, int);
    void *address = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);
    if (!real)
        real = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    struct iovec *given = data;
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE || given->iov_len > sizeof whole)
        return real(request, pid, address, data);
    if (length == 0) {
        struct iovec all = {whole, sizeof whole};
        if (real(PTRACE_GETREGSET, pid, address, &all) != 0)
            return -1;
        length = all.iov_len;
        memset(whole, 0, sizeof whole);
    }
    if (given->iov_len >= length)
        return real(request, pid, address, data);
    memcpy(whole, given->iov_base, given->iov_len);
    return real(request, pid, address, &(struct iovec){whole, length});
}
