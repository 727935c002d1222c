//! What the server knows of each field: its shape, how lists and maps merge, how patches treat it.
//!
//! k8s-openapi's types drop unknown fields silently and carry no merge facts. `types.txt` has both:
//! it is generated from their schemas and `list-keys.json` by the test in `generate.rs`, which also
//! fails when it is out of date. It is read once, on first use, and borrows the embedded text:
//! about 100 KB of memory.
//!
//! ```text
//!   io.k8s.api.core.v1.PodSpec             a type; a trailing `atomic` makes it one value for apply
//!    containers [@io…Container l=map:name p=name s=merge
//!    └ field    └ shape       └ facts
//! ```
//!
//! Shapes: `s` text, `y` base64, `i` int32, `l` int64, `n` number, `b` boolean, `t` time, `u` time with
//! microseconds, `q` quantity, `x` integer or text, `?` anything, `@T` a type, `[S` list, `{S` map.

use std::sync::LazyLock;

use crate::resource::Names;

#[cfg(test)]
pub(crate) mod generate;
#[cfg(test)]
mod tests;

/// All types, read once.
#[must_use]
pub fn types() -> &'static Types {
    static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(include_str!("types.txt")));
    &TYPES
}

/// The schema's name of a kind: `io.k8s.api.apps.v1.StatefulSet`, or in our own group, as upstream
/// names custom resources, `io.stead.v1alpha1.StatefulSetPolicy`.
#[must_use]
pub fn schema_name(group: &str, version: &str, kind: &str) -> String {
    if group == "stead.io" {
        return format!("io.stead.{version}.{kind}");
    }
    let package = match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    format!("io.k8s.api.{package}.{version}.{kind}")
}

/// The shape of a whole object of this kind; anything at all for a kind that is not in the table.
#[must_use]
pub fn of_kind(names: &Names) -> Shape {
    let name = schema_name(names.group, names.version, names.kind);
    types().find(&name).map_or(Shape::Any, Shape::Struct)
}

/// Which type, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeId(u16);

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// Bytes as base64.
    Bytes,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Number,
    /// true or false.
    Boolean,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// `500m`
    Quantity,
    /// A port by number or name, a count or a percentage.
    IntOrText,
    /// Any JSON: extensions, field sets. One value for patches and apply.
    Any,
    /// A type of the table.
    Struct(TypeId),
    /// A list; the shape of its items is in the table.
    List(u16),
    /// A map of arbitrary keys; the shape of its values is in the table.
    Map(u16),
}

/// How items of a list are told apart by apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    Atomic,
    /// Items are scalars, each once.
    Set,
    /// Items are objects told apart by these fields.
    Map(Box<[&'static str]>),
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strategy {
    /// The field that tells items of a list of objects apart.
    pub merge_key: Option<&'static str>,
    /// Items are merged; otherwise the list is replaced.
    pub merge: bool,
    /// Keys that the patch does not list under `$retainKeys` go.
    pub retain_keys: bool,
    /// An object that would be merged is replaced.
    pub replace: bool,
}

/// One field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As in JSON.
    pub name: &'static str,
    /// What stands there.
    pub shape: Shape,
    /// For lists; atomic where nothing is said.
    pub list: ListType,
    /// A map or object that apply treats as one value.
    pub atomic: bool,
    /// Upstream always has it, if only empty: setting something within does not make one its owner.
    pub by_value: bool,
    /// For strategic merge patches.
    pub strategy: Strategy,
}

/// One type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// `io.k8s.api.core.v1.PodSpec`
    pub name: &'static str,
    /// Apply treats it as one value wherever it stands.
    pub atomic: bool,
    fields: Vec<Field>,
}

impl Type {
    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
        self.fields.get(at)
    }

    /// All fields, by name.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// `PodSpec`
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The value that a key of list items has when it is absent, as upstream's schema says.
    #[must_use]
    pub fn key_default(&self, key: &str) -> Option<&'static str> {
        let has_default = matches!(self.short_name(), "ContainerPort" | "ServicePort");
        (has_default && key == "protocol").then_some("TCP")
    }
}

/// The table.
#[derive(Debug)]
pub struct Types {
    types: Vec<Type>,
    /// Shapes of list items and map values.
    inner: Vec<Shape>,
}

impl Types {
    /// The type of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TypeId> {
        let at = self.types.binary_search_by(|one| one.name.cmp(name)).ok()?;
        u16::try_from(at).ok().map(TypeId)
    }

    /// A type of the table.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[usize::from(id.0)]
    }

    /// The shape of items of a list or values of a map; anything for other shapes.
    #[must_use]
    pub fn inside(&self, shape: Shape) -> Shape {
        match shape {
            Shape::List(at) | Shape::Map(at) => self.inner[usize::from(at)],
            _ => Shape::Any,
        }
    }

    /// The field of an object of this shape.
    #[must_use]
    pub fn field(&self, shape: Shape, name: &str) -> Option<&Field> {
        match shape {
            Shape::Struct(id) => self.get(id).field(name),
            _ => None,
        }
    }

    /// All types, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Type> {
        self.types.iter()
    }

    fn read(text: &'static str) -> Self {
        let names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mut table = Self { types: Vec::with_capacity(names.len()), inner: Vec::new() };
        for line in text.lines() {
            if let Some(line) = line.strip_prefix(' ') {
                let field = table.read_field(line, &names);
                if let Some(last) = table.types.last_mut() {
                    last.fields.push(field);
                }
            } else {
                let (name, atomic) = match line.split_once(' ') {
                    Some((name, _)) => (name, true),
                    None => (line, false),
                };
                table.types.push(Type { name, atomic, fields: Vec::new() });
            }
        }
        table.types.shrink_to_fit();
        table
    }

    fn read_field(&mut self, line: &'static str, names: &[&str]) -> Field {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let shape = self.read_shape(words.next().unwrap_or_default(), names);
        let mut field = Field {
            name,
            shape,
            list: ListType::Atomic,
            atomic: false,
            by_value: false,
            strategy: Strategy::default(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("l", "set")) => field.list = ListType::Set,
                Some(("l", "atomic")) => field.list = ListType::Atomic,
                Some(("l", keys)) => {
                    let keys = keys.strip_prefix("map:").unwrap_or(keys);
                    field.list = ListType::Map(keys.split(',').collect());
                }
                Some(("m", kind)) => field.atomic = kind == "atomic",
                Some(("p", key)) => field.strategy.merge_key = Some(key),
                Some(("s", strategies)) => {
                    for strategy in strategies.split(',') {
                        match strategy {
                            "merge" => field.strategy.merge = true,
                            "retainKeys" => field.strategy.retain_keys = true,
                            _ => field.strategy.replace = true,
                        }
                    }
                }
                None if word == "v" => field.by_value = true,
                _ => {}
            }
        }
        field
    }

    fn read_shape(&mut self, word: &str, names: &[&str]) -> Shape {
        match word {
            "s" => Shape::Text,
            "y" => Shape::Bytes,
            "i" => Shape::Int32,
            "l" => Shape::Int64,
            "n" => Shape::Number,
            "b" => Shape::Boolean,
            "t" => Shape::Time,
            "u" => Shape::MicroTime,
            "q" => Shape::Quantity,
            "x" => Shape::IntOrText,
            _ => match word.split_at_checked(1) {
                Some(("@", name)) => {
                    let at = names.binary_search(&name).ok().and_then(|at| u16::try_from(at).ok());
                    at.map_or(Shape::Any, |at| Shape::Struct(TypeId(at)))
                }
                Some(("[", inner)) => {
                    let inner = self.read_shape(inner, names);
                    Shape::List(self.intern(inner))
                }
                Some(("{", inner)) => {
                    let inner = self.read_shape(inner, names);
                    Shape::Map(self.intern(inner))
                }
                _ => Shape::Any,
            },
        }
    }

    fn intern(&mut self, shape: Shape) -> u16 {
        let at = self.inner.iter().position(|one| *one == shape).unwrap_or_else(|| {
            self.inner.push(shape);
            self.inner.len() - 1
        });
        // The table has a few hundred shapes; the test of its size would notice long before this.
        u16::try_from(at).unwrap_or(0)
    }
}
