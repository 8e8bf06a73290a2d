//! Recordings: the pictures of a screencast, kept and made into a film.
//!
//! A recording is bounded in time, pictures and bytes; at a bound it stops taking pictures and waits to be stopped. The
//! film is an animated GIF, made on a thread of its own.

use std::{
    collections::HashMap,
    io::Cursor,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use image::{
    Delay, DynamicImage, ImageFormat,
    codecs::gif::{GifEncoder, Repeat},
    imageops::FilterType,
};
use paddock_platform::{identity::Tenant, task::Tasks};
use tokio_util::sync::CancellationToken;

use crate::{
    ids::TabId,
    screencast::{Screencast, ScreencastOptions},
    tab::Tab,
};

/// Largest picture of a film.
const WIDTH_MAX: u32 = 1280;
const HEIGHT_MAX: u32 = 720;
/// How much time the encoder spends on colours: 1 (best) to 30 (quickest).
const GIF_SPEED: i32 = 20;

/// How a recording is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordOptions {
    pub(crate) fps: u32,
    pub(crate) quality: u8,
    pub(crate) scale: f64,
    pub(crate) duration_max: Duration,
    pub(crate) frames_max: usize,
    pub(crate) size_max: usize,
}

/// What a recording is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    Recording,
    Encoding,
    Finished(Bytes),
    Failed(String),
}

/// A recording as it is now.
#[derive(Clone, Debug)]
pub(crate) struct RecordStatus {
    pub(crate) state: RecordState,
    pub(crate) tab: TabId,
    pub(crate) fps: u32,
    pub(crate) frames: usize,
    pub(crate) duration: Duration,
    /// A bound was reached: no more pictures are taken.
    pub(crate) full: bool,
}

#[derive(Debug)]
struct Recording {
    state: RecordState,
    tab: TabId,
    options: RecordOptions,
    started: Instant,
    ended: Option<Instant>,
    frames: Vec<(Duration, Bytes)>,
    frames_count: usize,
    size: usize,
    full: bool,
    stop: CancellationToken,
}

/// The recordings: one per tenant, the last one until the next begins. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recordings(Arc<Mutex<HashMap<Tenant, Recording>>>);

/// The tenant records already, or its last film is being made.
#[derive(Debug, thiserror::Error)]
#[error("a recording is {0} already; stop it or wait")]
pub(crate) struct RecordingBusy(&'static str);

impl Recordings {
    /// Begins one.
    pub(crate) async fn start(
        &self,
        tenant: &Tenant,
        tab: &Tab,
        options: RecordOptions,
    ) -> Result<(), StartError> {
        self.check_free(tenant)?;
        let screencast = ScreencastOptions {
            quality: options.quality,
            width_max: (f64::from(WIDTH_MAX) * options.scale) as u32,
            height_max: (f64::from(HEIGHT_MAX) * options.scale) as u32,
            fps_max: f64::from(options.fps),
        };
        let screencast = Screencast::start(tab, screencast).await?;
        let stop = CancellationToken::new();
        let recording = Recording {
            state: RecordState::Recording,
            tab: tab.id().clone(),
            options,
            started: Instant::now(),
            ended: None,
            frames: Vec::new(),
            frames_count: 0,
            size: 0,
            full: false,
            stop: stop.clone(),
        };
        {
            let mut all = self.all();
            check_free(all.get(tenant))?;
            all.insert(tenant.clone(), recording);
        }
        let (recordings, tenant) = (self.clone(), tenant.clone());
        tab.0.shared.tasks.spawn("browser_record", async move {
            let _ = stop.run_until_cancelled(recordings.take(&tenant, screencast)).await;
        });
        Ok(())
    }

    fn check_free(&self, tenant: &Tenant) -> Result<(), RecordingBusy> {
        check_free(self.all().get(tenant))
    }

    async fn take(&self, tenant: &Tenant, mut screencast: Screencast) {
        while let Some(image) = screencast.next().await {
            let mut all = self.all();
            let Some(recording) = all.get_mut(tenant) else { return };
            let at = recording.started.elapsed();
            let options = &recording.options;
            recording.full = at > options.duration_max
                || recording.frames.len() >= options.frames_max
                || recording.size + image.len() > options.size_max;
            if recording.full || recording.state != RecordState::Recording {
                return;
            }
            recording.size += image.len();
            recording.frames.push((at, image));
            recording.frames_count += 1;
        }
    }

    /// Ends the tenant's recording: its film is made, or forgotten. How many pictures it has; none if there is none.
    pub(crate) fn stop(&self, tenant: &Tenant, discard: bool, tasks: &Tasks) -> Option<RecordStatus> {
        let mut all = self.all();
        let recording = all.get_mut(tenant).filter(|recording| recording.state == RecordState::Recording)?;
        recording.stop.cancel();
        recording.ended = Some(Instant::now());
        recording.state = RecordState::Encoding;
        let frames = std::mem::take(&mut recording.frames);
        let status = recording.status();
        let duration = status.duration;
        if discard {
            all.remove(tenant);
            return Some(status);
        }
        drop(all);
        let (recordings, tenant) = (self.clone(), tenant.clone());
        tasks.spawn("browser_record_encode", async move {
            let film = tokio::task::spawn_blocking(move || encode(&frames, duration)).await;
            let state = match film {
                Ok(Ok(film)) => RecordState::Finished(film.into()),
                Ok(Err(error)) => RecordState::Failed(error),
                Err(error) => RecordState::Failed(error.to_string()),
            };
            if let Some(recording) = recordings.all().get_mut(&tenant) {
                recording.state = state;
            }
        });
        Some(status)
    }

    /// How the tenant's recording is; none if there is none.
    pub(crate) fn status(&self, tenant: &Tenant) -> Option<RecordStatus> {
        self.all().get(tenant).map(Recording::status)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Tenant, Recording>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recording that did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Busy(#[from] RecordingBusy),
    #[error(transparent)]
    Call(#[from] paddock_cdp::CallError),
}

fn check_free(recording: Option<&Recording>) -> Result<(), RecordingBusy> {
    match recording.map(|recording| &recording.state) {
        Some(RecordState::Recording) => Err(RecordingBusy("under way")),
        Some(RecordState::Encoding) => Err(RecordingBusy("being encoded")),
        _ => Ok(()),
    }
}

impl Recording {
    fn status(&self) -> RecordStatus {
        RecordStatus {
            state: self.state.clone(),
            tab: self.tab.clone(),
            fps: self.options.fps,
            frames: self.frames_count,
            duration: self.ended.map_or_else(|| self.started.elapsed(), |ended| ended - self.started),
            full: self.full,
        }
    }
}

/// Makes the film: each picture stays until the next one came.
fn encode(frames: &[(Duration, Bytes)], duration: Duration) -> Result<Vec<u8>, String> {
    if frames.is_empty() {
        return Err("nothing was recorded: the page was not drawn".to_owned());
    }
    let mut film = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut film, GIF_SPEED);
        encoder.set_repeat(Repeat::Infinite).map_err(|error| error.to_string())?;
        let mut size = None;
        for (index, (at, jpeg)) in frames.iter().enumerate() {
            let until = frames.get(index + 1).map_or(duration, |(next, _)| *next);
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

    #[test]
    fn a_film_has_every_picture_for_as_long_as_it_was_seen() {
        let frames = [
            (Duration::ZERO, jpeg(40, 30, 0)),
            (Duration::from_millis(300), jpeg(40, 30, 200)),
            (Duration::from_secs(1), jpeg(80, 60, 90)),
        ];
        let film = encode(&frames, Duration::from_millis(1500)).unwrap();
        let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(film)).unwrap();
        let frames = image::AnimationDecoder::into_frames(decoder).collect_frames().unwrap();
        let delays: Vec<_> = frames.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
        assert_eq!(delays, [300, 700, 500]);
        assert!(frames.iter().all(|frame| frame.buffer().dimensions() == (40, 30)));
    }

    #[test]
    fn a_recording_of_nothing_says_so() {
        assert!(encode(&[], Duration::from_secs(1)).unwrap_err().contains("nothing was recorded"));
    }
}
