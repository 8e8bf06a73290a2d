//! What a client may ask, method by method.

use url::Url;

use super::wire::Refusal;

/// What a session is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionKind {
    /// The browser: commands reach the whole process unless they are held back.
    Browser,
    /// A page, frame or worker of the instance.
    Target,
}

/// What is done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Passed on as it is.
    Pass,
    /// Passed on if its `url`, where there is one, is one that pages may have.
    Url,
    /// Passed on with the instance's `browserContextId`; refused if it names another.
    Context,
    /// As [`Rule::Context`], as a `Browser.grantPermissions` of nothing: what was not granted stays denied.
    ResetPermissions,
    /// Passed on without its `browserContextId`, which may only be the instance's.
    OwnContext,
    /// Passed on if its `targetId` is one of the instance's.
    Target,
    /// As [`Rule::Target`], or without one. Its reply names a window that the client may use then.
    Window,
    /// Passed on if its `windowId` is one that the client was told of.
    KnownWindow,
    /// Answered with success; nothing is done.
    Ignore,
    /// Answered by the gatekeeper.
    Own(Own),
    /// Refused with this reason.
    Refuse(&'static str),
}

/// Commands that the gatekeeper answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Close,
    DiscoverTargets,
    AutoAttach,
    Targets,
    TargetInfo,
    Attach,
    Detach,
    CreateTarget,
    Contexts,
}

const SHARED: &str = "is not available: it concerns a browser process that other instances share";
const CONTEXT: &str =
    "is not available: an instance is one browser context; start another instance for another";
const FILES: &str = "is not available: files of the server's machine are out of reach; use /browser/upload";

/// Domains whose commands on a page, frame or worker concern that alone.
const TARGET_DOMAINS: &[&str] = &[
    "Accessibility",
    "Animation",
    "Audits",
    "BackgroundService",
    "CSS",
    "CacheStorage",
    "Console",
    "DOM",
    "DOMDebugger",
    "DOMSnapshot",
    "DOMStorage",
    "Debugger",
    "DeviceOrientation",
    "Emulation",
    "EventBreakpoints",
    "FedCm",
    "Fetch",
    "HeapProfiler",
    "IO",
    "IndexedDB",
    "Input",
    "Inspector",
    "LayerTree",
    "Log",
    "Media",
    "Network",
    "Overlay",
    "Page",
    "Performance",
    "PerformanceTimeline",
    "Preload",
    "Profiler",
    "Runtime",
    "Schema",
    "Security",
    "ServiceWorker",
    "Storage",
    "WebAudio",
    "WebAuthn",
];

/// What is done with a command on a session of a kind.
pub(super) fn rule(kind: SessionKind, method: &str) -> Rule {
    let domain = method.split_once('.').map_or(method, |(domain, _)| domain);
    match domain {
        "Browser" => browser_rule(method),
        "Target" => target_rule(kind, method),
        _ => match kind {
            SessionKind::Browser => match method {
                "Storage.getCookies" | "Storage.setCookies" | "Storage.clearCookies" => Rule::Context,
                _ => Rule::Refuse(SHARED),
            },
            SessionKind::Target => page_rule(domain, method),
        },
    }
}

fn browser_rule(method: &str) -> Rule {
    match method {
        "Browser.getVersion" => Rule::Pass,
        "Browser.close" => Rule::Own(Own::Close),
        // Downloads are the instance's affair; clients take this for granted and need the success.
        "Browser.setDownloadBehavior" | "Browser.cancelDownload" => Rule::Ignore,
        "Browser.grantPermissions" | "Browser.setPermission" => Rule::Context,
        "Browser.resetPermissions" => Rule::ResetPermissions,
        "Browser.getWindowForTarget" => Rule::Window,
        "Browser.getWindowBounds" | "Browser.setWindowBounds" | "Browser.setContentsSize" => {
            Rule::KnownWindow
        }
        _ => Rule::Refuse(SHARED),
    }
}

fn target_rule(kind: SessionKind, method: &str) -> Rule {
    match method {
        "Target.setDiscoverTargets" => Rule::Own(Own::DiscoverTargets),
        // A page's own children are in its context.
        "Target.setAutoAttach" if kind == SessionKind::Target => Rule::Pass,
        "Target.setAutoAttach" => Rule::Own(Own::AutoAttach),
        "Target.getTargets" => Rule::Own(Own::Targets),
        "Target.getTargetInfo" => Rule::Own(Own::TargetInfo),
        "Target.attachToTarget" => Rule::Own(Own::Attach),
        "Target.detachFromTarget" => Rule::Own(Own::Detach),
        "Target.createTarget" => Rule::Own(Own::CreateTarget),
        "Target.getBrowserContexts" => Rule::Own(Own::Contexts),
        "Target.activateTarget" | "Target.closeTarget" => Rule::Target,
        "Target.attachToBrowserTarget" if kind == SessionKind::Browser => Rule::Pass,
        "Target.createBrowserContext" | "Target.disposeBrowserContext" => Rule::Refuse(CONTEXT),
        _ => Rule::Refuse(SHARED),
    }
}

fn page_rule(domain: &str, method: &str) -> Rule {
    match method {
        "Page.navigate"
        | "Network.loadNetworkResource"
        | "Fetch.continueRequest"
        | "Network.continueInterceptedRequest" => Rule::Url,
        "Page.setDownloadBehavior" => Rule::Ignore,
        "DOM.setFileInputFiles" => Rule::Refuse(FILES),
        "Memory.getDOMCounters" => Rule::Pass,
        _ if domain == "Storage" => Rule::OwnContext,
        _ if TARGET_DOMAINS.contains(&domain) => Rule::Pass,
        _ => Rule::Refuse(SHARED),
    }
}

/// Whether a page may be sent to an address. The egress decides about the network; this is about what is not network.
pub(super) fn check_url(url: &str) -> Result<(), Refusal> {
    if url.is_empty() {
        return Ok(());
    }
    let parsed = Url::parse(url).map_err(|_| Refusal::new("Cannot navigate to invalid URL"))?;
    match parsed.scheme() {
        "http" | "https" | "data" | "blob" => Ok(()),
        "about" if matches!(parsed.path(), "blank" | "srcdoc") => Ok(()),
        scheme => Err(Refusal::new(format!("`{scheme}:` addresses are not opened for clients"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_concerns_the_process_is_refused_on_every_session() {
        for method in [
            "Browser.crash",
            "Browser.getBrowserCommandLine",
            "Tracing.start",
            "SystemInfo.getInfo",
            "Target.exposeDevToolsProtocol",
            "Target.createBrowserContext",
            "Target.disposeBrowserContext",
            "Target.sendMessageToTarget",
            "Target.autoAttachRelated",
            "Target.setRemoteLocations",
            "Tethering.bind",
            "Memory.simulatePressureNotification",
            "Extensions.loadUnpacked",
            "nonsense",
        ] {
            for kind in [SessionKind::Browser, SessionKind::Target] {
                assert!(matches!(rule(kind, method), Rule::Refuse(_)), "{method} on {kind:?}");
            }
        }
        for method in
            ["Fetch.enable", "Network.enable", "IO.read", "Storage.clearDataForOrigin", "Page.enable"]
        {
            assert!(matches!(rule(SessionKind::Browser, method), Rule::Refuse(_)), "{method}");
        }
        assert!(matches!(rule(SessionKind::Target, "DOM.setFileInputFiles"), Rule::Refuse(_)));
    }

    #[test]
    fn only_addresses_of_pages_are_opened() {
        for url in ["http://a/", "https://a/", "about:blank", "data:text/html,x", ""] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for url in [
            "file:///etc/passwd",
            " FILE:///etc/passwd",
            "fi\nle:///etc/passwd",
            "chrome://version",
            "about:version",
            "view-source:file:///etc/passwd",
            "javascript:1",
            "devtools://devtools/",
            "/etc/passwd",
            "ftp://a/",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn an_unknown_domain_is_never_passed_on(domain in "[A-Z][a-z]{3,12}X", name in "[a-z]{1,12}") {
            for kind in [SessionKind::Browser, SessionKind::Target] {
                let refused = matches!(rule(kind, &format!("{domain}.{name}")), Rule::Refuse(_));
                prop_assert!(refused);
            }
        }
    }
}
