//! What a page may be kept from loading for a navigation: images, media, advertisements; and banners that it shows.

use std::{sync::PoisonError, time::Duration};

use paddock_cdp::{CallError, protocol::network::SetBlockedUrls};

use crate::{action::ActionError, frames::Realm, tab::Tab};

/// How long looking for banners may take.
const BANNERS_DEADLINE: Duration = Duration::from_secs(3);

/// What a page may not load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocking {
    /// Images.
    pub images: bool,
    /// Images, fonts, audio and video.
    pub media: bool,
    /// Advertisements and trackers of well-known hosts.
    pub ads: bool,
}

const IMAGES: &[&str] =
    &["*.png*", "*.jpg*", "*.jpeg*", "*.gif*", "*.webp*", "*.avif*", "*.svg*", "*.ico*", "*.bmp*"];
const MEDIA: &[&str] =
    &["*.mp4*", "*.webm*", "*.mp3*", "*.ogg*", "*.m4a*", "*.m3u8*", "*.wav*", "*.woff*", "*.ttf*", "*.otf*"];
const ADS: &[&str] = &[
    "*://*.doubleclick.net/*",
    "*://*.googlesyndication.com/*",
    "*://*.googleadservices.com/*",
    "*://*.googletagmanager.com/*",
    "*://*.googletagservices.com/*",
    "*://*.google-analytics.com/*",
    "*://*.adnxs.com/*",
    "*://*.amazon-adsystem.com/*",
    "*://*.criteo.com/*",
    "*://*.criteo.net/*",
    "*://*.taboola.com/*",
    "*://*.outbrain.com/*",
    "*://*.scorecardresearch.com/*",
    "*://*.quantserve.com/*",
    "*://*.hotjar.com/*",
    "*://*.moatads.com/*",
    "*://*.pubmatic.com/*",
    "*://*.rubiconproject.com/*",
    "*://*.adsrvr.org/*",
    "*://connect.facebook.net/*",
    "*://bat.bing.com/*",
    "*://*.clarity.ms/*",
];

impl Tab {
    /// Has the page load nothing of this from now on.
    pub async fn block(&self, blocking: Blocking) -> Result<(), CallError> {
        if *self.0.blocking.lock().unwrap_or_else(PoisonError::into_inner) == blocking {
            return Ok(());
        }
        let mut urls = Vec::new();
        if blocking.images || blocking.media {
            urls.extend_from_slice(IMAGES);
        }
        if blocking.media {
            urls.extend_from_slice(MEDIA);
        }
        if blocking.ads {
            urls.extend_from_slice(ADS);
        }
        self.session().send(&SetBlockedUrls { urls: &urls }).await?;
        *self.0.blocking.lock().unwrap_or_else(PoisonError::into_inner) = blocking;
        Ok(())
    }

    /// Closes banners about cookies and consent, the refusing way where there is one. How many were closed.
    pub async fn dismiss_banners(&self) -> Result<u32, ActionError> {
        let expression = "paddockAccessibility.dismissBanners()";
        Ok(self.ask(&Realm::PAGE, expression, BANNERS_DEADLINE).await?)
    }
}
