//! Films made of a recording's pictures: an animated GIF, made here, or `WebM` and MP4, made by `ffmpeg`.

use std::{env, io::Cursor, path::PathBuf, process::Stdio, time::Duration};

use bytes::Bytes;
use image::{
    Delay, DynamicImage, ImageFormat, ImageReader,
    codecs::gif::{GifEncoder, Repeat},
    imageops::FilterType,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

/// Largest picture of a film.
pub(crate) const WIDTH_MAX: u32 = 1280;
pub(crate) const HEIGHT_MAX: u32 = 720;
/// How much time the encoder spends on colours: 1 (best) to 30 (quickest).
const GIF_SPEED: i32 = 20;
/// How long `ffmpeg` may take.
const ENCODE_DEADLINE: Duration = Duration::from_mins(5);
/// Bytes of what it says when it fails.
const WORDS_SIZE_MAX: u64 = 2000;

/// What a film is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilmFormat {
    Gif,
    Webm,
    Mp4,
}

impl FilmFormat {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "gif" => Some(Self::Gif),
            "webm" => Some(Self::Webm),
            "mp4" => Some(Self::Mp4),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Webm => "webm",
            Self::Mp4 => "mp4",
        }
    }

    pub(crate) const fn mime(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Webm => "video/webm",
            Self::Mp4 => "video/mp4",
        }
    }

    /// Whether it can be made here.
    pub(crate) fn is_available(self) -> bool {
        self == Self::Gif || ffmpeg().is_some()
    }

    /// What `ffmpeg` is told of it: quick encoders, and nothing that needs to go back in the file.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Webm => {
                &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-f", "webm"]
            }
            Self::Gif | Self::Mp4 => &[
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-movflags",
                "frag_keyframe+empty_moov",
                "-f",
                "mp4",
            ],
        }
    }
}

fn ffmpeg() -> Option<PathBuf> {
    let search = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&search).chain([PathBuf::from("/usr/bin")]);
    directories.map(|directory| directory.join("ffmpeg")).find(|path| path.is_file())
}

/// Pictures as JPEG, each with the time at which it was taken.
pub(crate) type Pictures = Vec<(Duration, Bytes)>;

/// Makes a film of a length out of pictures, of at most so many bytes.
pub(crate) async fn make(
    format: FilmFormat,
    pictures: Pictures,
    duration: Duration,
    fps: u32,
    size_max: usize,
) -> Result<Vec<u8>, String> {
    if pictures.is_empty() {
        return Err("nothing was recorded: the page was not drawn".to_owned());
    }
    match format {
        FilmFormat::Gif => {
            let encode = move || encode_gif(&pictures, duration);
            tokio::task::spawn_blocking(encode).await.unwrap_or_else(|error| Err(error.to_string()))
        }
        FilmFormat::Webm | FilmFormat::Mp4 => {
            let encode = encode_video(format, pictures, duration, fps, size_max);
            let late = |_| Err(format!("ffmpeg took over {}s", ENCODE_DEADLINE.as_secs()));
            timeout(ENCODE_DEADLINE, encode).await.unwrap_or_else(late)
        }
    }
}

/// Has `ffmpeg` make a film: it gets so many pictures a second, each as often as it was seen.
async fn encode_video(
    format: FilmFormat,
    pictures: Pictures,
    duration: Duration,
    fps: u32,
    size_max: usize,
) -> Result<Vec<u8>, String> {
    let binary = ffmpeg().ok_or("ffmpeg is not installed any more")?;
    let (width, height) = video_size(&pictures[0].1)?;
    let mut child = Command::new(binary)
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "image2pipe", "-c:v", "mjpeg"])
        .args(["-framerate", &fps.to_string(), "-i", "pipe:0", "-an"])
        .args(["-vf", &format!("scale={width}:{height}"), "-pix_fmt", "yuv420p"])
        .args(format.arguments())
        .arg("pipe:1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("ffmpeg does not run: {error}"))?;
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let Some(((mut stdin, stdout), stderr)) = pipes else { return Err("ffmpeg has no pipes".to_owned()) };
    let feed = async move {
        for (index, (_, jpeg)) in pictures.iter().enumerate() {
            let frame_at = |at: Duration| (at.as_secs_f64() * f64::from(fps)).round() as u64;
            let from = if index == 0 { 0 } else { frame_at(pictures[index].0) };
            let until = pictures
                .get(index + 1)
                .map_or_else(|| frame_at(duration).max(from + 1), |next| frame_at(next.0));
            for _ in from..until {
                // It ended: its exit says why.
                if stdin.write_all(jpeg).await.is_err() {
                    return;
                }
            }
        }
    };
    let (mut film, mut words) = (Vec::new(), Vec::new());
    let mut output = stdout.take(size_max as u64 + 1);
    let listen = async {
        let mut errors = stderr.take(WORDS_SIZE_MAX);
        errors.read_to_end(&mut words).await.ok();
        // What else it says is taken from it, so that it does not wait.
        tokio::io::copy(&mut errors.into_inner(), &mut tokio::io::sink()).await.ok();
    };
    let work = async {
        let read = output.read_to_end(&mut film).await;
        let too_large = film.len() > size_max;
        if read.is_err() || too_large {
            // The others end with it.
            child.start_kill().ok();
        }
        let status = child.wait().await;
        read.map_err(|error| format!("ffmpeg cannot be read: {error}"))?;
        if too_large {
            return Err(format!("the film has over {size_max} bytes (`[browser] record_size_max`)"));
        }
        status.map_err(|error| error.to_string())
    };
    let (status, (), ()) = tokio::join!(work, feed, listen);
    let status = status?;
    if status.success() {
        Ok(film)
    } else {
        Err(format!("ffmpeg failed ({status}): {}", String::from_utf8_lossy(&words).trim()))
    }
}

/// The size of a picture, made even: the encoders halve the resolution of colours.
fn video_size(jpeg: &[u8]) -> Result<(u32, u32), String> {
    let reader = ImageReader::with_format(Cursor::new(jpeg), ImageFormat::Jpeg);
    let (width, height) = reader.into_dimensions().map_err(|error| error.to_string())?;
    let even = |side: u32, max: u32| (side.min(max) & !1).max(2);
    Ok((even(width, WIDTH_MAX), even(height, HEIGHT_MAX)))
}

/// Makes a GIF: each picture stays until the next one came.
fn encode_gif(pictures: &[(Duration, Bytes)], duration: Duration) -> Result<Vec<u8>, String> {
    let mut film = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut film, GIF_SPEED);
        encoder.set_repeat(Repeat::Infinite).map_err(|error| error.to_string())?;
        let mut size = None;
        for (index, (at, jpeg)) in pictures.iter().enumerate() {
            let until = pictures.get(index + 1).map_or(duration, |(next, _)| *next);
            let picture =
                image::load(Cursor::new(jpeg), ImageFormat::Jpeg).map_err(|error| error.to_string())?;
            let picture = fit(picture, &mut size);
            // A GIF knows hundredths of a second, and players take less than two of them for a mistake.
            let delay = until.saturating_sub(*at).max(Duration::from_millis(20));
            let frame =
                image::Frame::from_parts(picture.into_rgba8(), 0, 0, Delay::from_saturating_duration(delay));
            encoder.encode_frame(frame).map_err(|error| error.to_string())?;
        }
    }
    Ok(film)
}

/// All pictures have the size of the first: the window may have changed meanwhile.
fn fit(picture: DynamicImage, size: &mut Option<(u32, u32)>) -> DynamicImage {
    let (width, height) =
        *size.get_or_insert((picture.width().min(WIDTH_MAX), picture.height().min(HEIGHT_MAX)));
    if (picture.width(), picture.height()) == (width, height) {
        picture
    } else {
        picture.resize_exact(width, height, FilterType::Triangle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u32, height: u32, grey: u8) -> Bytes {
        let mut bytes = Vec::new();
        let picture =
            DynamicImage::ImageRgb8(image::RgbImage::from_pixel(width, height, image::Rgb([grey; 3])));
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        bytes.into()
    }

    fn pictures() -> Pictures {
        vec![
            (Duration::ZERO, jpeg(40, 30, 0)),
            (Duration::from_millis(300), jpeg(40, 30, 200)),
            (Duration::from_secs(1), jpeg(80, 60, 90)),
        ]
    }

    #[test]
    fn a_film_has_every_picture_for_as_long_as_it_was_seen() {
        let film = encode_gif(&pictures(), Duration::from_millis(1500)).unwrap();
        let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(film)).unwrap();
        let frames = image::AnimationDecoder::into_frames(decoder).collect_frames().unwrap();
        let delays: Vec<_> = frames.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
        assert_eq!(delays, [300, 700, 500]);
        assert!(frames.iter().all(|frame| frame.buffer().dimensions() == (40, 30)));
    }

    #[tokio::test]
    async fn a_recording_of_nothing_says_so() {
        let film = make(FilmFormat::Gif, Vec::new(), Duration::from_secs(1), 5, 1000).await;
        assert!(film.unwrap_err().contains("nothing was recorded"));
    }

    #[tokio::test]
    async fn videos_are_made_where_ffmpeg_is() {
        let length = Duration::from_millis(1500);
        for (format, mark, at) in
            [(FilmFormat::Webm, &b"\x1a\x45\xdf\xa3"[..], 0), (FilmFormat::Mp4, b"ftyp", 4)]
        {
            let film = make(format, pictures(), length, 10, 1 << 20).await;
            if !format.is_available() {
                assert!(film.unwrap_err().contains("ffmpeg is not installed"));
                continue;
            }
            assert_eq!(&film.unwrap()[at..at + 4], mark, "{format:?}");
            let error = make(format, pictures(), length, 10, 100).await.unwrap_err();
            assert!(error.contains("record_size_max"), "{error}");
        }
    }
}
