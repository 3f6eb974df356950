//! Users and groups by name or number, as `exec.user` and `exec.group` give them.

use std::ffi::CString;
use std::sync::OnceLock;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::model::exit::{Stage, StartError};

/// As whom a workload runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: libc::uid_t,
    /// Group id.
    pub gid: libc::gid_t,
    /// Supplementary groups (getgrouplist(3)).
    pub groups: Vec<libc::gid_t>,
}

/// Looks up as whom to run. `None`: as we do ourselves, nothing is to be changed.
///
/// # Errors
/// Stage `User`: no such user or group, or the databases cannot be read.
pub fn credentials(user: Option<&str>, group: Option<&str>) -> Result<Option<Credentials>, StartError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let (uid, account) = match user {
        None => (geteuid(), User::from_uid(geteuid()).ok().flatten()),
        Some(text) => find_user(text)?,
    };
    let gid = match (group, &account) {
        (Some(text), _) => find_group(text)?,
        (None, Some(account)) => account.gid,
        (None, None) => {
            let detail = format!(
                "user {uid} has no entry in the user database, so its group is unknown; set exec.group"
            );
            return Err(refused(None, detail));
        }
    };
    if uid == geteuid() && gid == getegid() {
        return Ok(None);
    }
    let groups = match account.and_then(|account| CString::new(account.name).ok()) {
        Some(name) => getgrouplist(&name, gid)
            .map_err(|errno| refused(Some(errno), format!("the groups of user {uid}: {}", errno.desc())))?,
        None => vec![gid],
    };
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(Some(Credentials { uid: uid.as_raw(), gid: gid.as_raw(), groups }))
}

/// The entry of the user that this process runs as; looked up once.
#[must_use]
pub fn own_account() -> Option<&'static User> {
    static OWN: OnceLock<Option<User>> = OnceLock::new();
    OWN.get_or_init(|| User::from_uid(geteuid()).ok().flatten()).as_ref()
}

/// The entry of a user in the user database, by name or number; `None` if there is none.
#[must_use]
pub fn account(name: &str) -> Option<User> {
    match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)).ok().flatten(),
        Err(_) => User::from_name(name).ok().flatten(),
    }
}

fn find_user(text: &str) -> Result<(Uid, Option<User>), StartError> {
    let failed = |errno: nix::Error| refused(Some(errno), format!("user {text:?}: {}", errno.desc()));
    if let Some(user) = User::from_name(text).map_err(failed)? {
        return Ok((user.uid, Some(user)));
    }
    let Ok(number) = text.parse() else {
        return Err(refused(None, format!("user {text:?} does not exist; create it or correct exec.user")));
    };
    let uid = Uid::from_raw(number);
    Ok((uid, User::from_uid(uid).map_err(failed)?))
}

fn find_group(text: &str) -> Result<Gid, StartError> {
    let failed = |errno: nix::Error| refused(Some(errno), format!("group {text:?}: {}", errno.desc()));
    if let Some(group) = Group::from_name(text).map_err(failed)? {
        return Ok(group.gid);
    }
    text.parse()
        .map(Gid::from_raw)
        .map_err(|_| refused(None, format!("group {text:?} does not exist; create it or correct exec.group")))
}

fn refused(errno: Option<nix::Error>, detail: String) -> StartError {
    StartError { stage: Stage::User, errno: errno.map(|errno| errno as i32), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_changes_nothing_and_strangers_are_named() {
        assert_eq!(credentials(None, None), Ok(None));
        let error = credentials(Some("no-such-user"), None).expect_err("nobody has this name");
        assert_eq!(error.stage, Stage::User);
        assert!(error.detail.contains("\"no-such-user\" does not exist"), "{}", error.detail);
        let error = credentials(None, Some("no-such-group")).expect_err("nobody has this name");
        assert!(error.detail.contains("exec.group"), "{}", error.detail);
        let error = credentials(Some("3999999999"), None).expect_err("nobody has this number");
        assert!(error.detail.contains("set exec.group"), "{}", error.detail);
        let own = geteuid().to_string();
        assert_eq!(credentials(Some(&own), Some(&getegid().to_string())), Ok(None));
    }
}
