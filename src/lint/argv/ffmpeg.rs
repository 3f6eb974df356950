//! PURE: an ffmpeg command line taken apart: which options belong to which input and output.

/// Options that take no value (`OPT_BOOL` in ffmpeg's source). All others take one.
const FLAGS: &[&str] = &[
    "y",
    "n",
    "accurate_seek",
    "an",
    "auto_conversion_filters",
    "autorotate",
    "autoscale",
    "benchmark",
    "benchmark_all",
    "bitexact",
    "copy_unknown",
    "copyinkf",
    "copyts",
    "debug_ts",
    "display_hflip",
    "display_vflip",
    "dn",
    "dump",
    "find_stream_info",
    "fix_sub_duration",
    "fix_sub_duration_heartbeat",
    "force_fps",
    "hex",
    "hide_banner",
    "hwaccels",
    "ignore_unknown",
    "print_graphs",
    "psnr",
    "qphist",
    "re",
    "recast_media",
    "report",
    "seek_timestamp",
    "shortest",
    "sn",
    "start_at_zero",
    "stats",
    "stdin",
    "version",
    "vn",
    "vstats",
    "xerror",
];

/// Input formats that are devices or generators, not files.
const DEVICES: &[&str] = &[
    "alsa",
    "decklink",
    "dshow",
    "fbdev",
    "iec61883",
    "jack",
    "kmsgrab",
    "lavfi",
    "libndi_newtek",
    "openal",
    "oss",
    "pulse",
    "v4l2",
    "video4linux2",
    "x11grab",
];

/// A command line.
#[derive(Debug)]
pub struct Ffmpeg<'a> {
    /// All options but `-i`, in order.
    pub options: Vec<Opt<'a>>,
    /// Its inputs.
    pub inputs: Vec<File<'a>>,
    /// Its outputs.
    pub outputs: Vec<File<'a>>,
}

/// One option.
#[derive(Debug)]
pub struct Opt<'a> {
    /// Which argument it is.
    pub index: usize,
    /// Its name without the dash, its stream specifier included.
    pub name: &'a str,
    /// Its value, if it takes one.
    pub value: Option<&'a str>,
}

/// An input or output, with the options in front of it.
#[derive(Debug)]
pub struct File<'a> {
    /// Which argument its URL is.
    pub index: usize,
    /// Its URL or path.
    pub url: &'a str,
    first: usize,
    end: usize,
}

impl<'a> Ffmpeg<'a> {
    /// Takes a command apart; `None` if its program is no ffmpeg.
    #[must_use]
    pub fn read(argv: &'a [String]) -> Option<Self> {
        let program = argv.first()?.rsplit('/').next()?;
        if !program.starts_with("ffmpeg") {
            return None;
        }
        let mut read = Self { options: Vec::new(), inputs: Vec::new(), outputs: Vec::new() };
        let mut first = 0;
        let mut index = 1;
        while let Some(argument) = argv.get(index) {
            let end = read.options.len();
            match argument.strip_prefix('-').filter(|name| !name.is_empty()) {
                Some("i") => {
                    if let Some(url) = argv.get(index + 1) {
                        read.inputs.push(File { index: index + 1, url, first, end });
                    }
                    first = end;
                    index += 2;
                }
                Some(name) if is_flag(name) => {
                    read.options.push(Opt { index, name, value: None });
                    index += 1;
                }
                Some(name) => {
                    let value = argv.get(index + 1).map(String::as_str);
                    read.options.push(Opt { index, name, value });
                    index += 2;
                }
                None => {
                    read.outputs.push(File { index, url: argument, first, end });
                    first = end;
                    index += 1;
                }
            }
        }
        Some(read)
    }

    /// The last option of these names, wherever it stands.
    #[must_use]
    pub fn option(&self, names: &[&str]) -> Option<&Opt<'a>> {
        self.options.iter().rfind(|option| names.contains(&option.name))
    }

    /// Whether one of these options is given anywhere.
    #[must_use]
    pub fn has(&self, names: &[&str]) -> bool {
        self.option(names).is_some()
    }

    /// The options of one input or output.
    #[must_use]
    pub fn of(&self, file: &File<'_>) -> &[Opt<'a>] {
        &self.options[file.first..file.end]
    }

    /// The last option of these names that belongs to one input or output.
    #[must_use]
    pub fn option_of(&self, file: &File<'_>, names: &[&str]) -> Option<&Opt<'a>> {
        self.of(file).iter().rfind(|option| names.contains(&option.name))
    }

    /// The value of an option of one input or output.
    #[must_use]
    pub fn value_of(&self, file: &File<'_>, names: &[&str]) -> Option<&'a str> {
        self.option_of(file, names)?.value
    }

    /// Whether a file's format is this one, by `-f` or by the ending of its name.
    #[must_use]
    pub fn is_format(&self, file: &File<'_>, format: &str, ending: &str) -> bool {
        match self.value_of(file, &["f"]) {
            Some(given) => given == format,
            None => path_of(file.url).ends_with(ending),
        }
    }

    /// Whether an input or output is a plain file: no network, no pipe, no device, no generator.
    #[must_use]
    pub fn is_plain_file(&self, file: &File<'_>) -> bool {
        let by_url = matches!(scheme(file.url).as_str(), "" | "file")
            && file.url != "-"
            && !file.url.starts_with("/dev/")
            && !file.url.starts_with("pipe:");
        let format = self.value_of(file, &["f"]).unwrap_or("");
        by_url && format != "null" && !DEVICES.contains(&format)
    }
}

fn is_flag(name: &str) -> bool {
    let bare = name.split(':').next().unwrap_or(name);
    FLAGS.contains(&bare) || bare.strip_prefix("no").is_some_and(|rest| FLAGS.contains(&rest))
}

/// The protocol of a URL in small letters; empty for a path. Of nested ones (`async:http://`) the last.
#[must_use]
pub fn scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((before, _)) => before.rsplit([':', '+']).next().unwrap_or(before).to_ascii_lowercase(),
        None if url.starts_with("file:") => "file".into(),
        None => String::new(),
    }
}

/// Whether a URL leads to another machine.
#[must_use]
pub fn is_network(url: &str) -> bool {
    is_live(url) || matches!(scheme(url).as_str(), "http" | "https" | "tcp" | "tls" | "ftp" | "sftp")
}

/// Whether a URL is a live stream by its protocol.
#[must_use]
pub fn is_live(url: &str) -> bool {
    matches!(
        scheme(url).as_str(),
        "rtmp" | "rtmps" | "rtmpt" | "rtmpe" | "rtmpts" | "rtsp" | "rtsps" | "srt" | "udp" | "rtp" | "rist"
    )
}

/// A URL without what follows its path.
fn path_of(url: &str) -> &str {
    url.split(['?', '|']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_belong_to_the_file_behind_them() {
        let line = "/usr/bin/ffmpeg -nostdin -y -re -i in.mp4 -rw_timeout 5 -i rtmp://h/a -c:v copy -an a.mp4 \
                    -f hls b.m3u8?x -hide_banner";
        let argv: Vec<String> = line.split(' ').map(Into::into).collect();
        let read = Ffmpeg::read(&argv).expect("ffmpeg");
        let urls = |files: &[File<'_>]| files.iter().map(|f| f.url.to_owned()).collect::<Vec<_>>();
        assert_eq!(urls(&read.inputs), ["in.mp4", "rtmp://h/a"]);
        assert_eq!(urls(&read.outputs), ["a.mp4", "b.m3u8?x"]);
        assert_eq!(read.value_of(&read.inputs[1], &["rw_timeout"]), Some("5"));
        assert!(read.option_of(&read.inputs[0], &["re"]).is_some());
        assert_eq!(read.value_of(&read.outputs[0], &["c:v"]), Some("copy"));
        assert!(read.is_format(&read.outputs[1], "hls", ".m3u8"));
        assert!(read.has(&["hide_banner"]));
        assert!(read.is_plain_file(&read.outputs[0]) && !read.is_plain_file(&read.inputs[1]));
    }

    #[test]
    fn schemes() {
        assert_eq!(scheme("async:HTTP://x"), "http");
        assert_eq!(scheme("/a/b"), "");
        assert!(is_live("rtsp://x") && !is_live("https://x") && is_network("https://x"));
    }
}
