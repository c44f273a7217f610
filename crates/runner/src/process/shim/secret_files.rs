//! Secrets as files that are on no disk: sealed memory files, which this shim holds open while the run
//! lasts. Whoever may look at the shim may read them, which is the same user; they go with it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::super::launch::SecretFile;

/// The open files and the variables that name them.
pub struct SecretFiles {
    pub variables: Vec<(String, String)>,
    /// Closed when dropped, and then gone.
    _held: Vec<OwnedFd>,
}

/// Makes a file of each secret. The contents are in no other place of this process afterwards.
pub fn open(files: Vec<SecretFile>) -> io::Result<SecretFiles> {
    let (mut variables, mut held) = (Vec::new(), Vec::new());
    for SecretFile { variable, content } in files {
        // Not inherited: the agent and all below it read through the path, each from the beginning.
        let memory = memfd_create("secret", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(content.as_bytes())?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        variables.push((variable, format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())));
        held.push(OwnedFd::from(file));
    }
    Ok(SecretFiles { variables, _held: held })
}
