//! Cookies of an instance.

use paddock_cdp::protocol::{
    network,
    storage::{self, Cookie, CookieParam},
};

use crate::{error::BrowserError, instance::Instance, tab::Tab};

/// Most cookies that one call sets.
pub(crate) const COOKIES_MAX: usize = 1000;

impl Tab {
    /// The cookies that would be sent to an address.
    pub async fn cookies_for(&self, url: &str) -> Result<Vec<Cookie>, BrowserError> {
        let reply = self.session().send(&network::GetCookies { urls: Some(&[url]) }).await?;
        Ok(reply.cookies)
    }
}

impl Instance {
    /// All its cookies.
    pub async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        let Some(lease) = self.lease() else { return Ok(Vec::new()) };
        let command = storage::GetCookies { browser_context_id: lease.name() };
        Ok(lease.process().connection().browser().send(&command).await?.cookies)
    }

    /// Sets cookies one by one, so that a bad one does not keep the others out. How many were set.
    pub async fn set_cookies(&self, cookies: &[CookieParam]) -> Result<usize, BrowserError> {
        let Some(lease) = self.lease() else { return Ok(0) };
        let browser = lease.process().connection().browser();
        let command = |cookies| storage::SetCookies { cookies, browser_context_id: lease.name() };
        if browser.send(&command(cookies)).await.is_ok() {
            return Ok(cookies.len());
        }
        let mut set = 0;
        for cookie in cookies {
            match browser.send(&command(std::slice::from_ref(cookie))).await {
                Ok(_) => set += 1,
                Err(paddock_cdp::CallError::Protocol { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(set)
    }

    /// Forgets all its cookies.
    pub async fn clear_cookies(&self) -> Result<(), BrowserError> {
        let Some(lease) = self.lease() else { return Ok(()) };
        let command = storage::ClearCookies { browser_context_id: lease.name() };
        lease.process().connection().browser().send(&command).await?;
        Ok(())
    }
}
