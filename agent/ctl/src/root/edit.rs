//! What can be changed about a root: each function makes a part of its successor, and signs nothing.

use std::slice;

use anyhow::{Context, Result, bail, ensure};
use dunlin_core::wire::{AppName, Digest, Floor, PublicKey, ReleaseRole, Role as Keys, Root};

use crate::keys::Role;

/// The roles of this kind: several of `release`, none or one of `grant`.
pub(super) fn roles(root: &Root, role: Role) -> Vec<&Keys> {
    match role {
        Role::Root => vec![&root.root],
        Role::Deploy => vec![&root.deploy],
        Role::Release => root.release.iter().map(|release| &release.role).collect(),
        Role::Grant => root.grant.iter().collect(),
    }
}

fn roles_mut(root: &mut Root, role: Role) -> Vec<&mut Keys> {
    match role {
        Role::Root => slice::from_mut(&mut root.root).iter_mut().collect(),
        Role::Deploy => slice::from_mut(&mut root.deploy).iter_mut().collect(),
        Role::Release => root.release.iter_mut().map(|release| &mut release.role).collect(),
        Role::Grant => root.grant.iter_mut().collect(),
    }
}

/// Whether the root knows this key in this role.
pub(super) fn knows(root: &Root, role: Role, key: &PublicKey) -> bool {
    roles(root, role).iter().any(|keys| keys.keys.contains(key))
}

/// Gives a role one more key; a release role for these apps (all, without any) is made where there is none.
pub(super) fn add_key(
    root: &mut Root,
    role: Role,
    apps: &[AppName],
    key: PublicKey,
    threshold: Option<u8>,
) -> Result<()> {
    let alone = |key| Keys { keys: vec![key], threshold: 1 };
    let keys = match role {
        Role::Root => &mut root.root,
        Role::Deploy => &mut root.deploy,
        Role::Grant if root.grant.is_none() => return set_threshold(root.grant.insert(alone(key)), threshold),
        Role::Grant => root.grant.as_mut().context("there is a grant role")?,
        Role::Release => {
            let same = |r: &ReleaseRole| r.apps.len() == apps.len() && r.apps.iter().all(|app| apps.contains(app));
            if let Some(at) = root.release.iter().position(same) {
                &mut root.release[at].role
            } else {
                let mut keys = alone(key);
                set_threshold(&mut keys, threshold)?;
                root.release.push(ReleaseRole { apps: apps.to_vec(), role: keys });
                return Ok(());
            }
        }
    };
    ensure!(!keys.keys.contains(&key), "the {} role has this key already", role.as_str());
    keys.keys.push(key);
    set_threshold(keys, threshold)
}

/// Takes a key out of a role; it is named by its beginning. Answers with the whole of it.
pub(super) fn remove_key(root: &mut Root, role: Role, beginning: &str, threshold: Option<u8>) -> Result<PublicKey> {
    let key = find_key(root, role, beginning)?;
    for keys in roles_mut(root, role) {
        keys.keys.retain(|known| *known != key);
        if !keys.keys.is_empty() {
            set_threshold(keys, threshold)?;
        }
    }
    let name = role.as_str();
    // Without a grant role nobody need agree; without release keys for some apps, others make them.
    root.release.retain(|release| !release.role.keys.is_empty());
    root.grant = root.grant.take().filter(|grant| !grant.keys.is_empty());
    let none = matches!(role, Role::Root | Role::Release | Role::Deploy)
        && (roles(root, role).is_empty() || roles(root, role).iter().any(|keys| keys.keys.is_empty()));
    ensure!(!none, "it is the last {name} key: add another one first, or `dunlinctl root rotate {name}`");
    Ok(key)
}

fn set_threshold(keys: &mut Keys, threshold: Option<u8>) -> Result<()> {
    keys.threshold = threshold.unwrap_or(keys.threshold);
    let (threshold, count) = (keys.threshold, keys.keys.len());
    let possible = (1..=count).contains(&usize::from(threshold));
    ensure!(possible, "{threshold} of {count} keys cannot sign: say with --threshold how many must");
    Ok(())
}

/// The one key of a role that begins so.
fn find_key(root: &Root, role: Role, beginning: &str) -> Result<PublicKey> {
    let mut keys: Vec<_> = roles(root, role).into_iter().flat_map(|keys| keys.keys.iter().copied()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| key.to_string().starts_with(beginning));
    match *keys {
        [key] => Ok(key),
        [] => bail!("no {} key begins with {beginning}: `dunlinctl root show` lists them", role.as_str()),
        _ => bail!("{} {} keys begin with {beginning}: write more of it", keys.len(), role.as_str()),
    }
}

/// Puts a new key where an old one is.
pub(super) fn replace_key(root: &mut Root, role: Role, old: &PublicKey, new: PublicKey) {
    for keys in roles_mut(root, role) {
        keys.keys.iter_mut().filter(|key| *key == old).for_each(|key| *key = new);
    }
}

/// Bans a release or a module.
pub(super) fn revoke(root: &mut Root, digest: Digest) -> Result<()> {
    ensure!(!root.revoked.contains(&digest), "{} is revoked already", digest.short());
    root.revoked.push(digest);
    Ok(())
}

/// Raises an app's floor. What was banned for its safety does not come back.
pub(super) fn floor(root: &mut Root, app: &AppName, counter: u64) -> Result<()> {
    let old = root.floor(app);
    ensure!(counter > old, "the floor of {app} is {old}, and floors only rise");
    root.floors.retain(|floor| floor.app != *app);
    root.floors.push(Floor { app: app.clone(), counter });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::Timestamp;

    fn key(first: u8) -> PublicKey {
        PublicKey([first; 32])
    }

    fn root() -> Root {
        let role = |first| Keys { keys: vec![key(first)], threshold: 1 };
        Root {
            fleet: "flock".parse().unwrap(),
            version: 1,
            expires: Timestamp(1),
            root: role(1),
            deploy: role(2),
            release: vec![ReleaseRole { apps: vec![], role: role(3) }],
            grant: None,
            revoked: vec![],
            floors: vec![],
        }
    }

    #[test]
    fn keys_come_and_go_and_a_role_can_always_sign() {
        let mut root = root();
        add_key(&mut root, Role::Root, &[], key(0x10), Some(2)).unwrap();
        assert_eq!((root.root.keys.len(), root.root.threshold), (2, 2));
        assert!(add_key(&mut root, Role::Root, &[], key(0x10), None).unwrap_err().to_string().contains("already"));
        let error = remove_key(&mut root.clone(), Role::Root, "1010", None).unwrap_err().to_string();
        assert!(error.contains("2 of 1 keys cannot sign"), "{error}");
        assert_eq!(remove_key(&mut root, Role::Root, "1010", Some(1)).unwrap(), key(0x10));
        for role in [Role::Root, Role::Release, Role::Deploy] {
            let error = remove_key(&mut root.clone(), role, "0", None).unwrap_err().to_string();
            assert!(error.contains("it is the last"), "{error}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_beginning() {
        let mut root = root();
        add_key(&mut root, Role::Deploy, &[], key(0x22), None).unwrap();
        add_key(&mut root, Role::Deploy, &[], key(0x23), None).unwrap();
        assert!(find_key(&root, Role::Deploy, "2").unwrap_err().to_string().contains("2 deploy keys begin with 2"));
        assert!(find_key(&root, Role::Deploy, "9").unwrap_err().to_string().contains("no deploy key begins with 9"));
        assert_eq!(find_key(&root, Role::Deploy, "23").unwrap(), key(0x23));
    }

    #[test]
    fn release_keys_for_some_apps_are_a_role_of_their_own() {
        let (mut root, apps) = (root(), ["a", "b"].map(|app| app.parse::<AppName>().unwrap()));
        add_key(&mut root, Role::Release, &apps, key(8), None).unwrap();
        let turned = [apps[1].clone(), apps[0].clone()];
        add_key(&mut root, Role::Release, &turned, key(9), Some(2)).unwrap();
        assert_eq!(root.release.len(), 2);
        assert_eq!(root.release[1].role, Keys { keys: vec![key(8), key(9)], threshold: 2 });
        remove_key(&mut root, Role::Release, "08", Some(1)).unwrap();
        remove_key(&mut root, Role::Release, "09", None).unwrap();
        assert_eq!(root.release.len(), 1, "a role without keys is none");
    }

    #[test]
    fn the_grant_role_is_there_while_it_has_keys() {
        let mut root = root();
        add_key(&mut root, Role::Grant, &[], key(5), None).unwrap();
        assert!(knows(&root, Role::Grant, &key(5)));
        replace_key(&mut root, Role::Grant, &key(5), key(6));
        assert!(!knows(&root, Role::Grant, &key(5)) && knows(&root, Role::Grant, &key(6)));
        remove_key(&mut root, Role::Grant, "06", None).unwrap();
        assert_eq!(root.grant, None);
    }

    #[test]
    fn floors_only_rise_and_nothing_is_revoked_twice() {
        let (mut root, app) = (root(), "a".parse().unwrap());
        floor(&mut root, &app, 2).unwrap();
        floor(&mut root, &app, 3).unwrap();
        assert_eq!(root.floors, [Floor { app: app.clone(), counter: 3 }]);
        assert!(floor(&mut root, &app, 3).unwrap_err().to_string().contains("only rise"));
        revoke(&mut root, Digest([1; 32])).unwrap();
        assert!(revoke(&mut root, Digest([1; 32])).is_err());
    }
}
