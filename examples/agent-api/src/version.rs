//! Which version of the protocol two peers speak: the newest that both know.

use std::ops::RangeInclusive;

use crate::proto::Versions;

/// The versions that this build speaks.
pub const PROTOCOL: RangeInclusive<u32> = 1..=1;

/// Two peers without a common version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plugin speaks protocol versions {} to {} and the agent {} to {}; \
     install the plugins that came with the agent",
    plugin.start(), plugin.end(), agent.start(), agent.end()
)]
pub struct Incompatible {
    plugin: RangeInclusive<u32>,
    agent: RangeInclusive<u32>,
}

/// What this build speaks, as a request says it.
pub fn spoken() -> Versions {
    Versions {
        oldest: *PROTOCOL.start(),
        newest: *PROTOCOL.end(),
    }
}

/// The newest version that a plugin and this build have in common. A plugin that says nothing speaks 1.
pub fn negotiate(plugin: Option<Versions>) -> Result<u32, Incompatible> {
    choose(
        plugin.map_or(1..=1, |versions| versions.oldest..=versions.newest),
        PROTOCOL,
    )
}

fn choose(plugin: RangeInclusive<u32>, agent: RangeInclusive<u32>) -> Result<u32, Incompatible> {
    let newest = *plugin.end().min(agent.end());
    match plugin.contains(&newest) && agent.contains(&newest) {
        true => Ok(newest),
        false => Err(Incompatible { plugin, agent }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_wins() {
        assert_eq!(choose(1..=3, 2..=4), Ok(3));
        assert_eq!(choose(2..=4, 1..=3), Ok(3));
        assert_eq!(choose(2..=2, 1..=3), Ok(2));
        assert_eq!(choose(1..=5, 2..=2), Ok(2));
    }

    #[test]
    fn no_common_version_is_an_error_that_names_both() {
        let error = choose(1..=2, 3..=4).unwrap_err().to_string();
        assert!(error.contains("1 to 2") && error.contains("3 to 4"), "{error}");
        assert!(choose(5..=6, 3..=4).is_err());
        #[allow(clippy::reversed_empty_ranges, reason = "a peer may send nonsense")]
        let nonsense = 4..=3;
        assert!(choose(nonsense, 3..=4).is_err());
    }

    #[test]
    fn this_build_understands_itself_and_a_silent_peer() {
        assert_eq!(negotiate(Some(spoken())), Ok(*PROTOCOL.end()));
        assert_eq!(negotiate(None), Ok(1));
    }
}
