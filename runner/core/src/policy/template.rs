//! Templates of runbooks: minijinja over the alert, its labels and annotations, and the run.
//!
//! Names: `labels`, `annotations`, `alert` (`fingerprint status severity title description service target source
//! starts_at`), `run` (`id`) and `target` (the run's, except in the runbook's own `target`). A name that is not
//! there is an error, never an empty text. No includes, no files, no secrets: `secret://name` passes through as
//! it stands. A rendering is bounded in steps and size.
//!
//! Every template gives text, with one exception: a text of an `input` that is exactly one `{{ ... }}` ending in
//! the filter `int`, `float` or `bool` gives a number or boolean.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Enumerator, Object, Value as Inner};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;

use super::yaml::{Node, Tree};
use crate::alert::Alert;
use crate::id::RunId;

mod condition;

pub use condition::{Condition, StepValues};

/// The most steps of one rendering.
const FUEL: u64 = 20_000;

/// The most bytes that one rendering may give.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// The deepest nesting of one template.
const RECURSION_LIMIT: usize = 32;

/// Cloned for each file: the filters in it are shared.
static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment
});

/// A template that cannot be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: template {key:?}: {message}")]
pub struct TemplateError {
    /// The file that the template stands in.
    pub file: String,
    /// Where in the file: `steps[0].input.unit`.
    pub key: String,
    /// What is wrong: for a name that is not there, the name.
    pub message: String,
}

/// All compiled templates of one file.
#[derive(Debug, Clone)]
pub struct Templates {
    file: String,
    environment: Environment<'static>,
}

/// One text, compiled when it holds a template. Belongs to the [`Templates`] that made it.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// No template: the text itself.
    Literal,
    /// The name of the compiled template, and what its text is turned into.
    Compiled { key: String, result: ResultType },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResultType {
    Text,
    Integer,
    Float,
    Boolean,
}

/// An input: any YAML, its texts being templates. Parts without templates are made once, at load.
#[derive(Debug, Clone)]
pub enum Input {
    /// A part without templates.
    Literal(Value),
    /// A text with a template.
    Template(Template),
    /// A list with templates in it.
    List(Vec<Self>),
    /// A mapping with templates in it.
    Map(Vec<(String, Self)>),
}

/// What templates can name.
#[derive(Debug, Clone)]
pub struct Values(Arc<Names>);

/// Names that are there, and what they stand for: few, and looked at for most runs once or twice.
#[derive(Debug, Clone)]
struct Names(Vec<(&'static str, Inner)>);

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        let key = key.as_str()?;
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Inner::from(*name)).collect())
    }
}

impl Values {
    /// The names of one run, or of one that is about to be. `alert` is `None` in a run started by hand, whose
    /// labels come from the request.
    #[must_use]
    pub fn new(
        labels: &BTreeMap<String, String>,
        alert: Option<&Alert>,
        run: Option<&RunId>,
        target: Option<&str>,
    ) -> Self {
        let mut names = vec![("labels", map(labels))];
        match alert {
            Some(alert) => {
                names.extend([("annotations", map(&alert.annotations)), ("alert", alert_value(alert))])
            }
            None => names.push(("annotations", map(&BTreeMap::new()))),
        }
        if let Some(run) = run {
            names.push(("run", Inner::from_object(Names(vec![("id", Inner::from(run.as_str()))]))));
        }
        names.extend(target.map(|target| ("target", Inner::from(target))));
        Self(Arc::new(Names(names)))
    }

    fn root(&self) -> Inner {
        Inner::from_dyn_object(Arc::clone(&self.0))
    }

    /// The same names, and that of the target.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        self.with("target", Inner::from(target))
    }

    fn with(&self, name: &'static str, value: Inner) -> Self {
        let others = self.0.0.iter().filter(|(known, _)| *known != name).cloned();
        Self(Arc::new(Names(others.chain([(name, value)]).collect())))
    }

    /// The one name of the probe of a group: the member that is looked at.
    #[must_use]
    pub fn of_member(member: &str) -> Self {
        Self(Arc::new(Names(vec![("member", Inner::from(member))])))
    }
}

fn map(texts: &BTreeMap<String, String>) -> Inner {
    Inner::from_pairs(texts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What a template sees of an alert; what the alert does not say is not there.
fn alert_value(alert: &Alert) -> Inner {
    let status = match alert.status {
        crate::alert::Status::Firing => "firing",
        crate::alert::Status::Resolved => "resolved",
    };
    let start = alert.starts_at.map(|start| start.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    let names = [
        ("description", alert.description.as_deref()),
        ("fingerprint", Some(alert.fingerprint.as_str())),
        ("service", alert.service.as_deref()),
        ("severity", Some(alert.severity.as_str())),
        ("source", Some(alert.source.as_str())),
        ("starts_at", start.as_deref()),
        ("status", Some(status)),
        ("target", alert.target.as_deref()),
        ("title", alert.title.as_deref()),
    ];
    let there = names.into_iter().filter_map(|(name, text)| Some((name, Inner::from(text?))));
    Inner::from_object(Names(there.collect()))
}

impl Templates {
    /// No templates yet, for a file of this name.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), environment: BASE.clone() }
    }

    fn error(&self, key: &str, message: String) -> TemplateError {
        TemplateError { file: self.file.clone(), key: key.to_owned(), message }
    }

    /// Compiles a text that gives text.
    ///
    /// # Errors
    /// When it is no template.
    pub fn compile(&mut self, key: &str, source: &str) -> Result<Template, TemplateError> {
        self.compile_to(key, source, ResultType::Text)
    }

    fn compile_to(&mut self, key: &str, source: &str, result: ResultType) -> Result<Template, TemplateError> {
        if !["{{", "{%", "{#"].iter().any(|sign| source.contains(sign)) {
            return Ok(Template { source: source.to_owned(), kind: Kind::Literal });
        }
        self.environment
            .add_template_owned(key.to_owned(), source.to_owned())
            .map_err(|error| self.error(key, describe(&error)))?;
        Ok(Template { source: source.to_owned(), kind: Kind::Compiled { key: key.to_owned(), result } })
    }

    /// Compiles all texts of an input. Numbers that JSON cannot hold are refused.
    ///
    /// # Errors
    /// All texts that are no templates, each with its place.
    pub fn compile_input(
        &mut self,
        key: &str,
        node: &Node,
    ) -> Result<Input, Vec<(super::problem::Position, TemplateError)>> {
        let mut errors = Vec::new();
        let input = self.input(key, node, &mut errors);
        if errors.is_empty() { Ok(input) } else { Err(errors) }
    }

    fn input(
        &mut self,
        key: &str,
        node: &Node,
        errors: &mut Vec<(super::problem::Position, TemplateError)>,
    ) -> Input {
        match &node.tree {
            Tree::Null => Input::Literal(Value::Null),
            Tree::Bool(value) => Input::Literal(Value::Bool(*value)),
            Tree::Integer(number) => Input::Literal(Value::from(*number)),
            Tree::Float(number) => {
                let value = serde_json::Number::from_f64(*number);
                if value.is_none() {
                    errors.push((node.at, self.error(key, "JSON has no such number".to_owned())));
                }
                Input::Literal(value.map_or(Value::Null, Value::Number))
            }
            Tree::Text(text) => match self.compile_to(key, text, result_type(text)) {
                Ok(template) if matches!(template.kind, Kind::Literal) => {
                    Input::Literal(Value::String(template.source))
                }
                Ok(template) => Input::Template(template),
                Err(error) => {
                    errors.push((node.at, error));
                    Input::Literal(Value::Null)
                }
            },
            Tree::List(items) => list(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.input(&format!("{key}[{index}]"), item, errors))
                    .collect(),
            ),
            Tree::Map(entries) => mapping(
                entries
                    .iter()
                    .map(|entry| {
                        let input = self.input(&format!("{key}.{}", entry.key), &entry.node, errors);
                        (entry.key.clone(), input)
                    })
                    .collect(),
            ),
        }
    }

    /// The text that a template gives.
    ///
    /// # Errors
    /// A name that is not there, a filter that refuses its value, too many steps, too long a text.
    pub fn render(&self, template: &Template, values: &Values) -> Result<String, TemplateError> {
        let Kind::Compiled { key, .. } = &template.kind else {
            return Ok(template.source.clone());
        };
        let compiled =
            self.environment.get_template(key).map_err(|error| self.error(key, describe(&error)))?;
        let mut output = Bounded::default();
        match compiled.render_captured_to(values.root(), &mut output) {
            Ok(_) => String::from_utf8(output.bytes).map_err(|error| self.error(key, error.to_string())),
            Err(_) if output.full => Err(self.error(key, format!("gives more than {OUTPUT_LIMIT} bytes"))),
            Err(error) => Err(self.error(key, self.describe_missing(&error, &compiled, values))),
        }
    }

    /// Names what is not there; the engine alone says only that something is not.
    fn describe_missing(
        &self,
        error: &minijinja::Error,
        template: &minijinja::Template<'_, '_>,
        values: &Values,
    ) -> String {
        if error.kind() != ErrorKind::UndefinedError {
            return describe(error);
        }
        let mut missing: Vec<String> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|path| !is_there(&values.root(), path) && !self.is_global(path))
            .collect();
        missing.sort();
        if missing.is_empty() { describe(error) } else { format!("there is no {}", missing.join(", no ")) }
    }

    fn is_global(&self, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or(path);
        self.environment.globals().any(|(name, _)| name == first)
    }

    /// The input with all templates rendered.
    ///
    /// # Errors
    /// As [`Templates::render`]; also a text that is not the number or boolean that its filter promises.
    pub fn render_input(&self, input: &Input, values: &Values) -> Result<Value, TemplateError> {
        Ok(match input {
            Input::Literal(value) => value.clone(),
            Input::Template(template) => self.render_value(template, values)?,
            Input::List(items) => Value::Array(
                items.iter().map(|item| self.render_input(item, values)).collect::<Result<_, _>>()?,
            ),
            Input::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, input)| Ok((key.clone(), self.render_input(input, values)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn render_value(&self, template: &Template, values: &Values) -> Result<Value, TemplateError> {
        let text = self.render(template, values)?;
        let Kind::Compiled { key, result } = &template.kind else {
            return Ok(Value::String(text));
        };
        let value = match result {
            ResultType::Text => return Ok(Value::String(text)),
            ResultType::Integer => text.trim().parse::<i64>().ok().map(Value::from),
            ResultType::Float => {
                text.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
            }
            ResultType::Boolean => text.trim().to_ascii_lowercase().parse::<bool>().ok().map(Value::Bool),
        };
        value.ok_or_else(|| self.error(key, format!("gives {text:?}, which is not what its filter promises")))
    }
}

impl Template {
    /// The text as the operator wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn list(items: Vec<Input>) -> Input {
    if items.iter().all(|item| matches!(item, Input::Literal(_))) {
        return Input::Literal(Value::Array(items.into_iter().filter_map(literal).collect()));
    }
    Input::List(items)
}

fn mapping(entries: Vec<(String, Input)>) -> Input {
    if entries.iter().all(|(_, input)| matches!(input, Input::Literal(_))) {
        let entries = entries.into_iter().filter_map(|(key, input)| Some((key, literal(input)?)));
        return Input::Literal(Value::Object(entries.collect()));
    }
    Input::Map(entries)
}

fn literal(input: Input) -> Option<Value> {
    match input {
        Input::Literal(value) => Some(value),
        Input::Template(_) | Input::List(_) | Input::Map(_) => None,
    }
}

/// What a text of an input is turned into.
fn result_type(source: &str) -> ResultType {
    let inside = source.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let Some(inside) = inside.filter(|inside| !inside.contains("{{") && !inside.contains("}}")) else {
        return ResultType::Text;
    };
    let last = inside.trim_end_matches('-').rsplit_once('|').map_or("", |(_, last)| last.trim());
    let name = last.split('(').next().unwrap_or(last).trim();
    match name {
        "int" => ResultType::Integer,
        "float" => ResultType::Float,
        "bool" => ResultType::Boolean,
        _ => ResultType::Text,
    }
}

fn is_there(root: &Inner, path: &str) -> bool {
    let mut value = root.clone();
    for part in path.split('.') {
        match value.get_attr(part) {
            Ok(next) if !next.is_undefined() => value = next,
            _ => return false,
        }
    }
    true
}

fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) if line > 1 => format!("{detail} (line {line} of the text)"),
        _ => detail,
    }
}

/// Takes bytes up to [`OUTPUT_LIMIT`].
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_LIMIT {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::yaml;

    fn values() -> Values {
        let labels = [("unit", "web.service"), ("port", "8080"), ("ratio", "0.5"), ("a b", "c")];
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Values::new(&labels, None, Some(&RunId::from_bits(7)), Some("web-7"))
    }

    fn check(yaml: &str, expected: &Value) {
        let mut templates = Templates::new("r.yaml");
        let input = templates.compile_input("input", &yaml::parse("r.yaml", yaml).unwrap()).unwrap();
        assert_eq!(templates.render_input(&input, &values()).unwrap(), *expected, "{yaml}");
    }

    #[test]
    fn inputs_keep_their_types() {
        check("{ a: 1, b: [true, ~, 1.5], c: x }", &json!({"a": 1, "b": [true, null, 1.5], "c": "x"}));
        check("{ u: 'unit {{ labels.unit }}!' }", &json!({"u": "unit web.service!"}));
        check("['{{ labels.port }}', '{{ labels.port | int }}']", &json!(["8080", 8080]));
        check("['{{ labels.ratio | float }}', '{{ labels.port | int > 1024 | bool }}']", &json!([0.5, true]));
        check(
            "['{{ labels[\"a b\"] }}', '{{ target }}', 'secret://token']",
            &json!(["c", "web-7", "secret://token"]),
        );
        check("'{{ labels.port | int }}0'", &json!("80800"));
        check("'{{ labels.absent | default(\"-\") }}'", &json!("-"));
    }

    #[test]
    fn an_alert_is_a_mapping_of_what_it_says() {
        let alert = Alert {
            id: None,
            source: "s".to_owned(),
            fingerprint: "f".to_owned(),
            status: crate::alert::Status::Firing,
            severity: crate::alert::Severity::Critical,
            title: Some("b".to_owned()),
            description: None,
            service: Some("a".to_owned()),
            target: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            starts_at: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            ends_at: None,
            links: Vec::new(),
            raw_digest: crate::id::Digest::of(b""),
        };
        let values = Values::new(&alert.labels, Some(&alert), None, None).with_target("web-7");
        let render = |source: &str| {
            let mut templates = Templates::new("r.yaml");
            let template = templates.compile("target", source).unwrap();
            templates.render(&template, &values).unwrap()
        };
        let names = "fingerprint service severity source starts_at status title ";
        assert_eq!(render("{% for name in alert %}{{ name }} {% endfor %}"), names);
        assert_eq!(
            render("{{ alert.starts_at }} {{ alert['title'] }} {{ alert | length }}"),
            "2026-01-02T03:04:05Z b 7"
        );
        assert_eq!(
            render("{{ 'target' in alert }} {{ target }} {{ alert.target is defined }}"),
            "False web-7 False"
        );
        let json: Value = serde_json::from_str(&render("{{ alert | tojson }}")).unwrap();
        assert_eq!((&json["service"], json.as_object().unwrap().len()), (&json!("a"), 7));
    }

    fn fails(source: &str) -> String {
        let mut templates = Templates::new("r.yaml");
        match templates.compile("target", source) {
            Err(error) => error.to_string(),
            Ok(template) => templates.render(&template, &values()).unwrap_err().to_string(),
        }
    }

    #[test]
    fn errors_name_file_key_and_what_is_missing() {
        assert_eq!(
            fails("{{ labels.instance }}"),
            "r.yaml: template \"target\": there is no labels.instance"
        );
        assert!(fails("{{ alert.title }}").contains("there is no alert.title"));
        assert!(fails("{{ nonsense }}").contains("there is no nonsense"));
        assert!(fails("{{ labels.unit | nofilter }}").contains("nofilter"));
        assert!(fails("{{ labels.unit").contains("r.yaml"));
        assert!(fails("{% include 'x' %}").contains("include"));
    }

    #[test]
    fn renderings_are_bounded() {
        assert!(
            fails("{% for x in range(9999) %}{% for y in range(9999) %}{% endfor %}{% endfor %}")
                .contains("fuel")
        );
        assert!(fails("{{ 'x' * 70000 }}").contains("more than 65536 bytes"));
    }
}
