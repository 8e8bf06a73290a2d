//! The publications that rules stand on.

use crate::Source;

/// A publication: title and address.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Who says it.
    pub title: &'static str,
    /// Where to read it; empty when it is not on the web.
    pub url: &'static str,
}

impl Reference {
    const fn new(title: &'static str, url: &'static str) -> Self {
        Self { title, url }
    }

    pub(super) fn to_source(self) -> Source {
        Source { title: self.title.into(), url: self.url.into() }
    }
}

pub(super) const WCAG_CONTRAST: Reference =
    Reference::new("WCAG 2.2, 1.4.3 Contrast (Minimum)", "https://www.w3.org/TR/WCAG22/#contrast-minimum");
pub(super) const WCAG_NON_TEXT_CONTRAST: Reference =
    Reference::new("WCAG 2.2, 1.4.11 Non-text Contrast", "https://www.w3.org/TR/WCAG22/#non-text-contrast");
pub(super) const WCAG_TARGET_SIZE: Reference = Reference::new(
    "WCAG 2.2, 2.5.8 Target Size (Minimum)",
    "https://www.w3.org/TR/WCAG22/#target-size-minimum",
);
pub(super) const WCAG_TEXT_ALTERNATIVES: Reference =
    Reference::new("WCAG 2.2, 1.1.1 Non-text Content", "https://www.w3.org/TR/WCAG22/#non-text-content");
pub(super) const WCAG_LABELS: Reference = Reference::new(
    "WCAG 2.2, 3.3.2 Labels or Instructions",
    "https://www.w3.org/TR/WCAG22/#labels-or-instructions",
);
pub(super) const WCAG_INPUT_PURPOSE: Reference = Reference::new(
    "WCAG 2.2, 1.3.5 Identify Input Purpose",
    "https://www.w3.org/TR/WCAG22/#identify-input-purpose",
);
pub(super) const WCAG_REFLOW: Reference =
    Reference::new("WCAG 2.2, 1.4.10 Reflow", "https://www.w3.org/TR/WCAG22/#reflow");
pub(super) const WCAG_PAUSE: Reference =
    Reference::new("WCAG 2.2, 2.2.2 Pause, Stop, Hide", "https://www.w3.org/TR/WCAG22/#pause-stop-hide");
pub(super) const WCAG_HEADINGS: Reference = Reference::new(
    "WCAG 2.2, 2.4.6 Headings and Labels",
    "https://www.w3.org/TR/WCAG22/#headings-and-labels",
);
pub(super) const GOOGLE_PLAYBOOK: Reference = Reference::new(
    "Google, Mobile Retail UX Playbook: clear call to action and value proposition above the fold",
    "",
);
pub(super) const GOOGLE_INTERSTITIALS: Reference = Reference::new(
    "Google Search Central, Avoid intrusive interstitials and dialogs",
    "https://developers.google.com/search/docs/appearance/avoid-intrusive-interstitials",
);
pub(super) const GOOGLE_SNIPPETS: Reference = Reference::new(
    "Google Search Central, Control your snippets",
    "https://developers.google.com/search/docs/appearance/snippet",
);
pub(super) const GOOGLE_TITLES: Reference = Reference::new(
    "Google Search Central, Influence title links",
    "https://developers.google.com/search/docs/appearance/title-link",
);
pub(super) const GOOGLE_PRODUCT: Reference = Reference::new(
    "Google Search Central, Product structured data",
    "https://developers.google.com/search/docs/appearance/structured-data/product",
);
pub(super) const LIGHTHOUSE_LINK_TEXT: Reference = Reference::new(
    "Lighthouse, Links have descriptive text",
    "https://developer.chrome.com/docs/lighthouse/seo/link-text",
);
pub(super) const LIGHTHOUSE_VIEWPORT: Reference = Reference::new(
    "Lighthouse, Has a viewport meta tag",
    "https://developer.chrome.com/docs/lighthouse/pwa/viewport",
);
pub(super) const LIGHTHOUSE_FONT_SIZE: Reference = Reference::new(
    "Lighthouse, Legible font sizes",
    "https://developer.chrome.com/docs/lighthouse/seo/font-size",
);
pub(super) const LIFT: Reference =
    Reference::new("WiderFunnel, LIFT model: clarity, relevance, anxiety, distraction, urgency", "");
pub(super) const NNG_FOLD: Reference = Reference::new(
    "Nielsen Norman Group, Scrolling and Attention (2018)",
    "https://www.nngroup.com/articles/scrolling-and-attention/",
);
pub(super) const NNG_PLACEHOLDERS: Reference = Reference::new(
    "Nielsen Norman Group, Placeholders in Form Fields Are Harmful",
    "https://www.nngroup.com/articles/form-design-placeholders/",
);
pub(super) const NNG_RESET: Reference = Reference::new(
    "Nielsen Norman Group, Reset and Cancel Buttons",
    "https://www.nngroup.com/articles/reset-and-cancel-buttons/",
);
pub(super) const BAYMARD_CHECKOUT: Reference = Reference::new(
    "Baymard Institute, Cart abandonment statistics and checkout usability",
    "https://baymard.com/lists/cart-abandonment-rate",
);
pub(super) const GDPR_CONSENT: Reference = Reference::new(
    "GDPR, Article 4(11) and Recital 32: pre-ticked boxes are not consent",
    "https://eur-lex.europa.eu/eli/reg/2016/679/oj",
);
pub(super) const FTC_DARK_PATTERNS: Reference = Reference::new(
    "US Federal Trade Commission, Bringing Dark Patterns to Light (2022)",
    "https://www.ftc.gov/reports/bringing-dark-patterns-light",
);
pub(super) const HTML_AUTOFILL: Reference = Reference::new(
    "HTML Standard, Autofill",
    "https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#autofill",
);
pub(super) const WEB_LCP: Reference =
    Reference::new("web.dev, Largest Contentful Paint", "https://web.dev/articles/lcp");
pub(super) const WEB_CLS: Reference =
    Reference::new("web.dev, Cumulative Layout Shift", "https://web.dev/articles/cls");
pub(super) const WEB_INP: Reference =
    Reference::new("web.dev, Interaction to Next Paint", "https://web.dev/articles/inp");
pub(super) const WEB_LONG_TASKS: Reference =
    Reference::new("web.dev, Optimize long tasks", "https://web.dev/articles/optimize-long-tasks");
pub(super) const KINCAID: Reference =
    Reference::new("Kincaid et al. (1975), Derivation of new readability formulas, RBR 8-75", "");
pub(super) const OWASP_INJECTION: Reference = Reference::new(
    "OWASP Top 10 for LLM Applications, LLM01 Prompt Injection",
    "https://genai.owasp.org/llmrisk/llm01-prompt-injection/",
);
pub(super) const GOOGLE_SPAM: Reference = Reference::new(
    "Google Search Central, Spam policies: hidden text and links",
    "https://developers.google.com/search/docs/essentials/spam-policies#hidden-text-and-links",
);
