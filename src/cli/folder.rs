//! The folder of last resort, `/tmp/sidekey-UID`: anybody may make it before us, and whoever owns a folder can put their
//! own socket in ours' place. So it is used only if it is ours and closed to everybody else.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use super::{Context, Exit, Failure};
use crate::config::{Config, last_resort};

/// Makes the folder, if the configuration leads there, and makes sure that it can be trusted.
pub(super) fn prepare(config: &Config, context: &Context) -> Result<(), Failure> {
    let folder = last_resort(context.uid);
    let socket = config.listen.socket.as_ref().map(|socket| socket.path.as_path());
    let token = config.access.token_file.as_deref();
    let used = [socket, token].into_iter().flatten().any(|path| path.parent() == Some(&folder));
    if !used {
        return Ok(());
    }
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::io(&format!("making {}", folder.display()), &error))
        }
        Ok(()) | Err(_) if is_ours_alone(&folder, context.uid) => Ok(()),
        Ok(()) | Err(_) => Err(Failure::new(
            Exit::Unavailable,
            format!(
                "{} is not a folder of ours alone, so that others could answer in our place\nremove it, set \
                 XDG_RUNTIME_DIR, or choose another place with --socket and --token-file",
                folder.display()
            ),
        )),
    }
}

/// A real folder, owned by that user, which nobody else can enter.
pub(super) fn is_ours_alone(folder: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_a_folder_that_is_ours_and_closed_is_trusted() {
        let outer = tempfile::tempdir().unwrap();
        let (folder, link) = (outer.path().join("f"), outer.path().join("l"));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        symlink(&folder, &link).unwrap();
        let uid = std::fs::metadata(&folder).unwrap().uid();
        assert!(is_ours_alone(&folder, uid));
        assert!(!is_ours_alone(&folder, uid + 1), "another user's");
        assert!(!is_ours_alone(&link, uid), "a link could be turned elsewhere");
        set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
        assert!(!is_ours_alone(&folder, uid));
    }
}
