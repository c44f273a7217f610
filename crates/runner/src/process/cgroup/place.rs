//! Where the control groups of this process lie: what `/proc` says of them, and which directory that is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A hierarchy of control groups that we have a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2, by itself or beside version 1.
    Unified,
    /// Of version 1.
    Freezer,
    Memory,
    Pids,
}

/// A hierarchy, the directory it is mounted at, and that of our own group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub hierarchy: Hierarchy,
    pub mount: PathBuf,
    pub own: PathBuf,
}

/// Where this process is, in each hierarchy that is mounted.
pub fn places() -> io::Result<Vec<Place>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(places_in(&groups, &mounts))
}

fn places_in(groups: &str, mounts: &str) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (root, mount, hierarchy) in mounts.lines().filter_map(mounted).flatten() {
        let path = groups.lines().find_map(|line| path_in(line, hierarchy));
        // Seen from a namespace our group may lie outside of what is mounted.
        let below = path.and_then(|path| Path::new(path).strip_prefix(root).ok().map(Path::to_owned));
        let is_known = places.iter().any(|place| place.hierarchy == hierarchy);
        if let (Some(below), false) = (below, is_known) {
            let mount = PathBuf::from(mount);
            places.push(Place { hierarchy, own: mount.join(below), mount });
        }
    }
    places
}

/// The root within the file system, the mount point and what is mounted, of one line of `mountinfo`.
fn mounted(line: &str) -> Option<Vec<(&str, &str, Hierarchy)>> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = file_system.split(' ');
    let (kind, options) = (fields.next()?, fields.nth(1)?);
    let hierarchies = match kind {
        "cgroup2" => vec![Hierarchy::Unified],
        "cgroup" => options.split(',').filter_map(controller).collect(),
        _ => return None,
    };
    Some(hierarchies.into_iter().map(|hierarchy| (root, point, hierarchy)).collect())
}

fn controller(name: &str) -> Option<Hierarchy> {
    match name {
        "freezer" => Some(Hierarchy::Freezer),
        "memory" => Some(Hierarchy::Memory),
        "pids" => Some(Hierarchy::Pids),
        _ => None,
    }
}

/// The path of our group, if this line of `/proc/self/cgroup` is about the hierarchy.
fn path_in(line: &str, hierarchy: Hierarchy) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_it = match hierarchy {
        Hierarchy::Unified => number == "0" && controllers.is_empty(),
        wanted => controllers.split(',').filter_map(controller).any(|found| found == wanted),
    };
    is_it.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(groups: &str, mounts: &str, expected: &[(Hierarchy, &str)]) {
        let found: Vec<_> = places_in(groups, mounts).into_iter().map(|place| (place.hierarchy, place.own)).collect();
        let expected: Vec<_> = expected.iter().map(|(hierarchy, own)| (*hierarchy, PathBuf::from(own))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn our_groups_are_found_in_either_version_and_in_a_namespace() {
        use Hierarchy::{Freezer, Memory, Pids, Unified};
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        check("0::/user.slice/a.scope\n", unified, &[(Unified, "/sys/fs/cgroup/user.slice/a.scope")]);
        check("0::/\n", unified, &[(Unified, "/sys/fs/cgroup/")]);
        let both = "36 31 0:33 / /cg/memory rw - cgroup cgroup rw,memory\n\
                    39 31 0:36 / /cg/pids rw - cgroup cgroup rw,cpu,pids\n\
                    37 31 0:34 / /cg/freezer rw - cgroup cgroup rw,freezer\n\
                    41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n\
                    42 31 0:39 / /tmp rw - tmpfs memory rw\n";
        let groups = "9:name=systemd:/\n8:cpu,pids:/p\n6:freezer:/\n4:memory:/m/1\n0::/\n";
        let expected =
            [(Memory, "/cg/memory/m/1"), (Pids, "/cg/pids/p"), (Freezer, "/cg/freezer"), (Unified, "/cg/unified")];
        check(groups, both, &expected);
        // A container that sees only its own part, and one that sees another.
        check("4:memory:/docker/1/x\n", "36 31 0:33 /docker/1 /cg rw - cgroup c rw,memory\n", &[(Memory, "/cg/x")]);
        check("4:memory:/docker/1\n", "36 31 0:33 /docker/2 /cg rw - cgroup c rw,memory\n", &[]);
        check("", "", &[]);
    }
}
