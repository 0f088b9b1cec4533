//! Names of users and groups. Each is looked up once.

use std::collections::HashMap;
use std::sync::Mutex;

use nix::unistd::{Gid, Group, Uid, User};

/// A cache of the system's user and group names, in both directions.
#[derive(Debug, Default)]
pub struct Names {
    users: Mutex<HashMap<u32, Option<String>>>,
    groups: Mutex<HashMap<u32, Option<String>>>,
    uids: Mutex<HashMap<String, Option<u32>>>,
    gids: Mutex<HashMap<String, Option<u32>>>,
}

fn cached<K, V>(map: &Mutex<HashMap<K, V>>, key: K, look: impl FnOnce(&K) -> V) -> V
where
    K: std::hash::Hash + Eq,
    V: Clone,
{
    let mut map = map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(value) = map.get(&key) {
        return value.clone();
    }
    let value = look(&key);
    map.insert(key, value.clone());
    value
}

impl Names {
    /// The name of a user. `None` if this machine knows no user with this id.
    pub fn user(&self, uid: u32) -> Option<String> {
        cached(&self.users, uid, |id| User::from_uid(Uid::from_raw(*id)).ok().flatten().map(|u| u.name))
    }

    /// The name of a group. `None` if this machine knows no group with this id.
    pub fn group(&self, gid: u32) -> Option<String> {
        cached(&self.groups, gid, |id| Group::from_gid(Gid::from_raw(*id)).ok().flatten().map(|g| g.name))
    }

    /// The id that this machine gives to a user name. `number` if it does not know the name, or if there is none.
    pub fn uid(&self, name: Option<&str>, number: u32) -> u32 {
        name.and_then(|n| cached(&self.uids, n.to_owned(), |n| User::from_name(n).ok().flatten().map(|u| u.uid.as_raw()))).unwrap_or(number)
    }

    /// The id that this machine gives to a group name. `number` if it does not know the name, or if there is none.
    pub fn gid(&self, name: Option<&str>, number: u32) -> u32 {
        name.and_then(|n| cached(&self.gids, n.to_owned(), |n| Group::from_name(n).ok().flatten().map(|g| g.gid.as_raw())))
            .unwrap_or(number)
    }
}
