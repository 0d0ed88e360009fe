//! Where requests go: the differences between the sites, and the names of their hosts.
//!
//! The endpoint does not choose the region that a request is about; the header `X-TC-Region` does. It chooses
//! the gateway that counts the rate. Source: Tencent Cloud's API documentation, "Request structure", of both
//! sites.

use std::{fmt, str::FromStr};

use reqwest::Url;

/// Which of Tencent Cloud's two sites an account belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// cloud.tencent.com
    #[default]
    Mainland,
    /// www.tencentcloud.com
    International,
}

impl Site {
    /// What differs between the sites: the ending of the hosts' names, and whether AssignIpv6Addresses has a
    /// `ClientToken`; a field that a site does not know is an error there.
    const fn differences(self) -> (&'static str, bool) {
        match self {
            Self::Mainland => ("tencentcloudapi.com", true),
            Self::International => ("intl.tencentcloudapi.com", false),
        }
    }

    /// Whether AssignIpv6Addresses takes a client token.
    pub(crate) const fn has_ipv6_tokens(self) -> bool {
        self.differences().1
    }
}

/// Which gateway answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// The nearest gateway of the site.
    #[default]
    Nearest,
    /// The gateway of the region itself, whose rate limits no other region shares.
    Regional,
    /// The gateway inside Tencent Cloud's network, for machines without a way to the Internet.
    Internal,
    /// One gateway for every product, such as a simulator's; plain HTTP is for this one alone.
    At(Gateway),
}

impl Endpoint {
    /// The address of a product's gateway.
    pub(crate) fn url(&self, product: &str, site: Site, region: &str) -> Result<Url, InvalidGateway> {
        let (suffix, _) = site.differences();
        let host = match self {
            Self::At(gateway) => return Ok(gateway.0.clone()),
            Self::Nearest => format!("{product}.{suffix}"),
            Self::Regional => format!("{product}.{region}.tencentcloudapi.com"),
            Self::Internal => format!("{product}.internal.tencentcloudapi.com"),
        };
        Gateway::from_str(&format!("https://{host}")).map(|gateway| gateway.0)
    }

    /// Whether requests go over plain HTTP.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::At(gateway) if gateway.0.scheme() == "http")
    }
}

/// A gateway of one's own: scheme, host and perhaps a port.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway(Url);

impl Gateway {
    pub(crate) fn into_url(self) -> Url {
        self.0
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Text that names no gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of a gateway; write it as http://127.0.0.1:8080")]
pub struct InvalidGateway(String);

impl FromStr for Gateway {
    type Err = InvalidGateway;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).ok().filter(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let nobody = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && bare && nobody
        });
        url.map(Self).ok_or_else(|| InvalidGateway(text.to_owned()))
    }
}

/// The header `Host` as the HTTP client sends it: with the port, unless it is the scheme's own.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_and_endpoint_has_its_host() {
        let hosts = [
            (Endpoint::Nearest, Site::Mainland, "vpc.tencentcloudapi.com"),
            (
                Endpoint::Nearest,
                Site::International,
                "vpc.intl.tencentcloudapi.com",
            ),
            (
                Endpoint::Regional,
                Site::Mainland,
                "vpc.ap-guangzhou.tencentcloudapi.com",
            ),
            (
                Endpoint::Internal,
                Site::Mainland,
                "vpc.internal.tencentcloudapi.com",
            ),
        ];
        for (endpoint, site, expected) in hosts {
            let url = endpoint.url("vpc", site, "ap-guangzhou").unwrap();
            assert_eq!((url.scheme(), &*host(&url)), ("https", expected));
            assert!(!endpoint.is_plain());
        }
    }

    #[test]
    fn a_gateway_of_ones_own_keeps_its_port_in_the_host() {
        let endpoint = Endpoint::At("http://127.0.0.1:8080".parse().unwrap());
        let url = endpoint.url("cvm", Site::Mainland, "ap-guangzhou").unwrap();
        assert_eq!(host(&url), "127.0.0.1:8080");
        assert!(endpoint.is_plain());
        let usual = "https://gateway.example:443".parse::<Gateway>().unwrap();
        assert_eq!(host(&usual.0), "gateway.example");
    }

    #[test]
    fn what_is_more_or_less_than_a_gateway_is_refused() {
        for text in [
            "",
            "127.0.0.1:80",
            "ftp://a",
            "http://a/b",
            "http://a?b",
            "http://me:pass@a",
        ] {
            assert!(text.parse::<Gateway>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_region_that_is_no_part_of_a_name_is_refused() {
        assert!(
            Endpoint::Regional
                .url("vpc", Site::Mainland, "ap/../evil")
                .is_err()
        );
    }
}
