//! The hosts on which service, file and process may act, and the names under which alerts know them.

/// All configured hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    pub(super) hosts: Vec<Host>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its key in the file: `local` is the machine that the daemon runs on.
    pub key: String,
    /// Its names, the canonical one first.
    pub names: Vec<String>,
}

impl Host {
    /// The name under which its runs and effects are counted and shown.
    #[must_use]
    pub fn canonical(&self) -> &str {
        self.names.first().unwrap_or(&self.key)
    }

    /// Whether it is the machine that the daemon runs on.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.key == "local"
    }
}

impl Hosts {
    /// The host that goes by a name. The comparison ignores ASCII case, as host names do.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Host> {
        let is_name = |known: &String| known.eq_ignore_ascii_case(name);
        self.hosts.iter().find(|host| is_name(&host.key) || host.names.iter().any(is_name))
    }

    /// The canonical name of a target: of the host when it is one's name, else the target as it stands.
    #[must_use]
    pub fn canonical(&self, target: &str) -> String {
        self.find(target).map_or(target, Host::canonical).to_owned()
    }

    /// All hosts, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Host] {
        &self.hosts
    }
}
