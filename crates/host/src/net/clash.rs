//! Whether the network can be made: found out before anything is.

use stdx::cidr::Cidr;

use super::{
    BRIDGE_PREFIX, NetworkConfig, NetworkError, gateway, hardware_address,
    link::{Link, Route},
};

/// The index of our own bridge, if an earlier run made it.
///
/// # Errors
/// [`NetworkError::Overlap`], [`NetworkError::Taken`], [`NetworkError::Full`].
pub(super) fn check(
    config: &NetworkConfig,
    bridge: &str,
    links: &[Link],
    routes: &[Route],
) -> Result<Option<u32>, NetworkError> {
    gateway(config.pods)?;
    if config.pods.overlaps(config.services) {
        return Err(overlap(config.pods, format!("the Service addresses {}", config.services)));
    }
    let own = match links.iter().find(|link| link.name == bridge) {
        Some(found)
            if found.kind == "bridge" && found.hardware_address == hardware_address(config) =>
        {
            Some(found.index)
        }
        Some(found) => return Err(NetworkError::Taken(found.name.clone())),
        None => None,
    };
    for route in routes.iter().filter(|route| route.block.prefix() > 0 && Some(route.link) != own) {
        let link = links.iter().find(|link| link.index == route.link);
        let name = link.map_or("?", |link| link.name.as_str());
        let other = format!("the route {} of link {name}", route.block);
        if route.block.overlaps(config.pods) {
            return Err(overlap(config.pods, other));
        }
        // Another instance of ours may have the same block of Services: each maps its own bridge's.
        let is_sibling = name.starts_with(BRIDGE_PREFIX);
        if route.block.overlaps(config.services) && !is_sibling {
            return Err(NetworkError::Overlap {
                what: "Service addresses",
                block: config.services,
                other,
                flag: "--service-cidr",
            });
        }
    }
    Ok(own)
}

fn overlap(block: Cidr, other: String) -> NetworkError {
    NetworkError::Overlap { what: "pod addresses", block, other, flag: "--pod-cidr" }
}
