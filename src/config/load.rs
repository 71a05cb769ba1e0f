//! Puts the sources of a configuration on top of each other: defaults, file, environment, flags.

use std::path::Path;

use super::Config;
use super::check::check;
use super::error::{ConfigError, Place};
use super::expand::expand_env;
use super::limits::LIMITS;
use super::nearest::nearest;
use super::settings::{NOT_YET, SETTINGS, Setting, VARIABLE_PREFIX};
use super::values::Value;
use super::yaml::{self, Key, Node, Tree};
use crate::tenant::TenantId;
use crate::tenant::limits::Limits;

/// Names the file to read. Not a setting itself, since a file cannot name itself.
const CONFIG_FILE: &str = "config.file";
/// Whether `${NAME}` in the file is replaced.
const EXPAND_ENV: &str = "config.expand-env";

/// Bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A flag as given: `--name=value`, `-name value`, or `--name` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: String,
    /// Its value, if one was given.
    pub value: Option<String>,
}

/// True for a flag that may stand without a value.
pub fn is_switch(name: &str) -> bool {
    name == EXPAND_ENV
}

/// Names and one line of help for the flags that are not settings.
pub const FILE_FLAGS: [(&str, &str); 2] = [
    (CONFIG_FILE, "YAML file to read settings and limits from"),
    (EXPAND_ENV, "replace ${NAME} and ${NAME:default} in the file by environment variables"),
];

/// Builds the configuration.
///
/// `environment` is all of the process's variables; only those named `GYRE_...` are settings, but any may be used in
/// the file.
///
/// # Errors
/// The first thing wrong: in the flags that name the file, then in the file, the environment, the flags, then in what
/// they come to together.
pub fn load(flags: &[Flag], environment: &[(String, String)]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let variable =
        |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());

    if let Some((path, _)) = file_setting(CONFIG_FILE, flags, &variable) {
        let expand = match file_setting(EXPAND_ENV, flags, &variable) {
            None => false,
            Some((text, place)) => bool::parse(&text).map_err(|problem| ConfigError::InvalidValue {
                place,
                key: EXPAND_ENV.to_owned(),
                value: text,
                problem,
            })?,
        };
        let mut text = read_file(&path)?;
        if expand {
            text = expand_env(&text, variable).map_err(|error| ConfigError::File {
                place: Place::File { path: path.clone(), line: error.line, column: error.column },
                problem: error.problem,
            })?;
        }
        File { path: &path }.apply(&text, &mut config)?;
    }
    for (name, value) in environment {
        apply_variable(name, value, &mut config)?;
    }
    for flag in flags {
        apply_flag(flag, &mut config)?;
    }
    check(&config).map_err(ConfigError::Together)?;
    Ok(config)
}

/// The value of one of the two flags that are about the file, from a flag or a variable.
fn file_setting(
    name: &str,
    flags: &[Flag],
    variable: &impl Fn(&str) -> Option<String>,
) -> Option<(String, Place)> {
    if let Some(flag) = flags.iter().rfind(|flag| flag.name == name) {
        let value = flag.value.clone().unwrap_or_else(|| "true".to_owned());
        return Some((value, Place::Flag(name.to_owned())));
    }
    let variable_name = variable_of(name);
    variable(&variable_name).map(|value| (value, Place::Variable(variable_name)))
}

fn variable_of(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace(['.', '-'], "_").to_uppercase())
}

fn read_file(path: &str) -> Result<String, ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable { path: path.to_owned(), problem };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("{size} bytes are more than the {FILE_BYTES_MAX} allowed")));
    }
    std::fs::read_to_string(Path::new(path)).map_err(|error| unreadable(error.to_string()))
}

fn setting_names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name)
}

fn apply_setting(
    setting: &Setting,
    value: &str,
    place: Place,
    config: &mut Config,
) -> Result<(), ConfigError> {
    setting.apply(config, value).map_err(|problem| ConfigError::InvalidValue {
        place,
        key: setting.name.to_owned(),
        value: value.to_owned(),
        problem,
    })
}

fn apply_flag(flag: &Flag, config: &mut Config) -> Result<(), ConfigError> {
    let place = Place::Flag(flag.name.clone());
    if FILE_FLAGS.iter().any(|(name, _)| *name == flag.name) {
        return Ok(());
    }
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == flag.name) else {
        if NOT_YET.contains(&flag.name.as_str()) {
            return Err(ConfigError::NotYet { place, key: flag.name.clone() });
        }
        let names = setting_names().chain(FILE_FLAGS.iter().map(|(name, _)| *name));
        let nearest = nearest(&flag.name, names).map(|name| format!("--{name}"));
        return Err(ConfigError::UnknownKey { place, key: flag.name.clone(), nearest });
    };
    match &flag.value {
        Some(value) => apply_setting(setting, value, place, config),
        None => Err(ConfigError::WrongShape {
            place,
            key: setting.name.to_owned(),
            wanted: "followed by a value",
        }),
    }
}

fn apply_variable(name: &str, value: &str, config: &mut Config) -> Result<(), ConfigError> {
    if !name.starts_with(VARIABLE_PREFIX) || is_foreign_variable(name) {
        return Ok(());
    }
    let place = Place::Variable(name.to_owned());
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
        return apply_setting(setting, value, place, config);
    }
    if FILE_FLAGS.iter().any(|(flag, _)| variable_of(flag) == name) {
        return Ok(());
    }
    if let Some(key) = NOT_YET.iter().find(|key| variable_of(key) == name) {
        return Err(ConfigError::NotYet { place, key: (*key).to_owned() });
    }
    let names: Vec<String> =
        setting_names().chain(FILE_FLAGS.iter().map(|(name, _)| *name)).map(variable_of).collect();
    let nearest = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
    Err(ConfigError::UnknownKey { place, key: name.to_owned(), nearest })
}

/// Variables that begin with our prefix without being meant for us: those that Kubernetes makes for a service named
/// `gyre`, and those of our own test suite.
fn is_foreign_variable(name: &str) -> bool {
    let rest = &name[VARIABLE_PREFIX.len()..];
    rest == "PORT"
        || rest.starts_with("PORT_")
        || rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || matches!(rest, "REQUIRE_ALL" | "PROMQLTEST_DIR" | "CRASH_POINT" | "CRASH_FILES")
}

/// A file being applied.
struct File<'a> {
    path: &'a str,
}

impl File<'_> {
    fn place(&self, line: u64, column: u64) -> Place {
        Place::File { path: self.path.to_owned(), line, column }
    }

    fn key_place(&self, key: &Key) -> Place {
        self.place(key.line, key.column)
    }

    fn apply(&self, text: &str, config: &mut Config) -> Result<(), ConfigError> {
        let root = yaml::parse(text).map_err(|error| ConfigError::File {
            place: self.place(error.line, error.column),
            problem: error.problem,
        })?;
        let entries = self.mapping("the file", &root)?;
        for (key, node) in entries {
            match key.name.as_str() {
                "limits" => self.apply_limits("limits", node, &mut config.limits)?,
                "overrides" => {}
                _ => self.apply_node(&[key.name.as_str()], key, node, config)?,
            }
        }
        // Overrides lie on top of the common limits, wherever these stand in the file.
        for (key, node) in entries.iter().filter(|(key, _)| key.name == "overrides") {
            for (tenant_key, limits_node) in self.mapping(&key.name, node)? {
                let tenant = TenantId::new(&tenant_key.name).map_err(|error| ConfigError::InvalidValue {
                    place: self.key_place(tenant_key),
                    key: "a tenant under overrides".to_owned(),
                    value: tenant_key.name.clone(),
                    problem: error.to_string(),
                })?;
                let mut limits = config.limits.clone();
                self.apply_limits(&format!("overrides.{tenant}"), limits_node, &mut limits)?;
                config.overrides.insert(tenant, limits);
            }
        }
        Ok(())
    }

    fn mapping<'n>(&self, key: &str, node: &'n Node) -> Result<&'n [(Key, Node)], ConfigError> {
        match &node.tree {
            Tree::Mapping(entries) => Ok(entries),
            Tree::Null => Ok(&[]),
            Tree::Scalar(_) | Tree::List(_) => Err(ConfigError::WrongShape {
                place: self.place(node.line, node.column),
                key: key.to_owned(),
                wanted: "a mapping",
            }),
        }
    }

    fn scalar<'n>(&self, key: &str, node: &'n Node) -> Result<&'n str, ConfigError> {
        match &node.tree {
            Tree::Scalar(text) => Ok(text),
            Tree::Null | Tree::List(_) | Tree::Mapping(_) => Err(ConfigError::WrongShape {
                place: self.place(node.line, node.column),
                key: key.to_owned(),
                wanted: "a single value",
            }),
        }
    }

    /// Applies the settings at and below `path`.
    fn apply_node(
        &self,
        path: &[&str],
        key: &Key,
        node: &Node,
        config: &mut Config,
    ) -> Result<(), ConfigError> {
        let dotted = path.join(".");
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.yaml_path() == path) {
            let values = match &node.tree {
                Tree::List(items) if setting.is_list => items,
                _ => std::slice::from_ref(node),
            };
            for node in values {
                let value = self.scalar(&dotted, node)?;
                apply_setting(setting, value, self.place(node.line, node.column), config)?;
            }
            return Ok(());
        }
        if let Some(name) = NOT_YET.iter().find(|name| name.replace('-', "_") == dotted) {
            return Err(ConfigError::NotYet { place: self.key_place(key), key: (*name).to_owned() });
        }
        let is_section = SETTINGS.iter().any(|setting| is_above(path, &setting.yaml_path()))
            || NOT_YET.iter().any(|name| name.replace('-', "_").starts_with(&format!("{dotted}.")));
        if is_section {
            for (inner_key, inner) in self.mapping(&dotted, node)? {
                let inner_path: Vec<&str> = path.iter().copied().chain([inner_key.name.as_str()]).collect();
                self.apply_node(&inner_path, inner_key, inner, config)?;
            }
            return Ok(());
        }
        let names: Vec<String> = SETTINGS
            .iter()
            .flat_map(|setting| {
                let whole = setting.yaml_path();
                (1..=whole.len()).map(move |length| whole[..length].join("."))
            })
            .chain(["limits".to_owned(), "overrides".to_owned()])
            .collect();
        let nearest = nearest(&dotted, names.iter().map(String::as_str)).map(str::to_owned);
        Err(ConfigError::UnknownKey { place: self.key_place(key), key: dotted, nearest })
    }

    fn apply_limits(&self, path: &str, node: &Node, limits: &mut Limits) -> Result<(), ConfigError> {
        for (key, node) in self.mapping(path, node)? {
            let dotted = format!("{path}.{}", key.name);
            let Some(limit) = LIMITS.iter().find(|limit| limit.name == key.name) else {
                let nearest = nearest(&key.name, LIMITS.iter().map(|limit| limit.name)).map(str::to_owned);
                return Err(ConfigError::UnknownKey { place: self.key_place(key), key: dotted, nearest });
            };
            let value = self.scalar(&dotted, node)?;
            (limit.apply)(limits, value).map_err(|problem| ConfigError::InvalidValue {
                place: self.place(node.line, node.column),
                key: dotted,
                value: value.to_owned(),
                problem,
            })?;
        }
        Ok(())
    }
}

fn is_above(path: &[&str], setting_path: &[String]) -> bool {
    setting_path.len() > path.len() && setting_path.iter().zip(path).all(|(own, other)| own == other)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
