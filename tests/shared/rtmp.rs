//! nginx with its RTMP module, and publishers, as the tests of live channels need them.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::wait::await_some;

/// Where Debian has it.
pub const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A process that ends with its owner.
pub struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, on a port of its own.
pub struct RtmpServer {
    pub port: u16,
    _nginx: Owned,
}

impl RtmpServer {
    /// Starts one that keeps its files in a folder, and waits until it listens.
    pub fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = format!(
            "daemon off;\nmaster_process off;\nload_module {MODULE};\npid nginx.pid;\n\
             error_log error.log info;\nevents {{}}\nrtmp {{ access_log off; server {{ listen 127.0.0.1:{port};\n\
             application live {{ live on; record off; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), config).expect("write");
        // Where Debian has it, which is not in everybody's PATH.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let nginx = Command::new("nginx")
            .env("PATH", path)
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("stderr.log")).expect("log"))
            .spawn()
            .expect("nginx starts");
        let server = Self { port, _nginx: Owned(nginx) };
        await_some("nginx listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }

    /// Publishes a test pattern under each name, a key frame a second.
    pub fn publish(&self, names: &[&str]) -> Owned {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-loglevel", "error", "-re"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-f", "lavfi", "-i", "sine"]);
        for name in names {
            command.args(["-map", "0", "-map", "1", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"]);
            command.args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv"]);
            command.arg(format!("rtmp://127.0.0.1:{}/live/{name}", self.port));
        }
        Owned(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("ffmpeg starts"))
    }
}
