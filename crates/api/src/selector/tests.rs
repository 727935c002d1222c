//! Rows: a selector, what it says when printed, and what it matches.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use proptest::prelude::*;
use serde_json::json;

use super::{Fields, Labels, Selector, escape, index};
use crate::resource;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn label_selectors_print_and_match() {
    let labels = map(&[("app", "web"), ("tier", "1"), ("e", "")]);
    for (selector, printed, matches) in [
        ("", "", true),
        ("app", "app", true),
        ("!app", "!app", false),
        ("app=web", "app=web", true),
        ("app==web", "app==web", true),
        ("app!=web", "app!=web", false),
        ("other!=web", "other!=web", true),
        ("app in (web, db)", "app in (db,web)", true),
        ("app notin (web)", "app notin (web)", false),
        ("other notin (web)", "other notin (web)", true),
        ("tier>0", "tier>0", true),
        ("tier<1", "tier<1", false),
        ("app>0", "app>0", false),
        ("e=", "e=", true),
        ("e in (,x)", "e in (,x)", true),
        ("  tier = 1 , app = web ", "app=web,tier=1", true),
        ("in in (in)", "in in (in)", false),
        ("!notin,app", "app,!notin", true),
        ("a.io/b=c", "a.io/b=c", false),
    ] {
        let read = Labels::parse(selector).unwrap();
        assert_eq!(read.to_string(), printed, "{selector}");
        assert_eq!(read.matches(Some(&labels)), matches, "{selector}");
        assert_eq!(Labels::parse(printed).unwrap(), read, "{selector}");
        let index = index::encode(&labels, []);
        let both = Selector { labels: read, fields: Fields::default() };
        assert_eq!(both.matches_index(&index), matches, "{selector}");
    }
}

#[test]
fn label_selectors_refused() {
    for (selector, why) in [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            "a in ()",
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "-a",
            "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a=-",
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ] {
        assert_eq!(Labels::parse(selector).unwrap_err().to_string(), why, "{selector}");
    }
}

#[test]
fn selectors_of_objects() {
    for (selector, printed) in [
        (json!({}), Ok("")),
        (json!({"matchLabels": {"b": "2", "a": "1"}}), Ok("a=1,b=2")),
        (
            json!({"matchLabels": {"m": "x"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["z", "y"]}, {"key": "z", "operator": "Exists"}]}),
            Ok("a in (y,z),m=x,z"),
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            Err("\"Gt\" is not a valid label selector operator"),
        ),
    ] {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let got = Labels::from_object(Some(&selector));
        let got = got.map(|read| read.to_string()).map_err(|why| why.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), printed);
    }
    assert!(!Labels::from_object(None).unwrap().matches(None), "none selects nothing");
    assert!(Labels::from_object(Some(&LabelSelector::default())).unwrap().matches(None));
    assert!(!Labels::exactly(&map(&[])).matches(None), "a Service without selector has no pods");
}

#[test]
fn field_selectors() {
    let pod = resource::by_kind("", "Pod").unwrap();
    let object = pod
        .decode(&json!({"metadata": {"name": "web-0", "namespace": "d", "labels": {"a": "b"}}, "spec": {"containers": [], "nodeName": "n1"}, "status": {"phase": "Running"}}))
        .unwrap();
    let index = index::of(pod, object.as_ref());
    for (selector, matches) in [
        ("", true),
        ("metadata.name=web-0", true),
        ("metadata.name==web-0,metadata.namespace=d", true),
        ("metadata.name!=web-0", false),
        ("spec.nodeName=", false),
        ("spec.host=n1", true),
        ("status.nominatedNodeName=", true),
        ("status.phase!=Failed,status.phase!=Succeeded", true),
        ("spec.hostNetwork=false", true),
    ] {
        let read = Selector::parse("", selector, pod.names()).unwrap();
        assert_eq!(read.matches_index(&index), matches, "{selector}");
    }
    assert!(Selector::parse("a=b", "spec.nodeName=n1", pod.names()).unwrap().matches_index(&index));
    assert_eq!(Fields::parse("metadata.name=x").unwrap().exact("metadata.name"), Some("x"));
}

#[test]
fn field_selectors_refused() {
    for (group, kind, selector, why) in [
        ("", "Pod", "spec.image=x", "field label not supported: spec.image"),
        (
            "",
            "ConfigMap",
            "data=x",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "apps",
            "StatefulSet",
            "status.replicas=1",
            "\"status.replicas\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("", "Pod", "x", "invalid selector: 'x'; can't understand 'x'"),
        (
            "",
            "Pod",
            "metadata.name=a=b",
            "invalid field selector: unescaped character in value: 61",
        ),
        ("", "Pod", r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
    ] {
        let names = resource::by_kind(group, kind).unwrap().names();
        assert_eq!(Selector::parse("", selector, names).unwrap_err().to_string(), why);
    }
}

#[test]
fn both_event_groups_ask_one_index() {
    let core = resource::by_kind("", "Event").unwrap();
    let newer = resource::by_kind("events.k8s.io", "Event").unwrap();
    let object = core
        .decode(&json!({"metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "reportingComponent": "kubelet"}))
        .unwrap();
    let index = index::of(core, object.as_ref());
    for (names, selector) in [
        (core.names(), "involvedObject.name=p,source=kubelet"),
        (newer.names(), "regarding.name=p,reportingController=kubelet"),
    ] {
        assert!(Selector::parse("", selector, names).unwrap().matches_index(&index), "{selector}");
    }
}

proptest! {
    #[test]
    fn escaped_values_are_read_back(value in ".*") {
        let read = Fields::parse(&format!("f={}", escape(&value))).unwrap();
        prop_assert_eq!(read.exact("f"), Some(value.as_str()));
    }

    #[test]
    fn any_bytes_are_an_index(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let read = Selector { labels: Labels::parse("a=b").unwrap(), fields: Fields::parse("c=d").unwrap() };
        let _matched: bool = read.matches_index(&bytes);
    }

    #[test]
    fn an_index_gives_back_its_labels(labels in proptest::collection::btree_map("[a-z]{0,200}", ".{0,8}", 0..5)) {
        let bytes = index::encode(&labels, [("status.phase", "x"), ("custom", "y")]);
        let read = index::Index::read(&bytes);
        let back: BTreeMap<String, String> = read.labels().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(back, labels);
        prop_assert_eq!((read.field("status.phase"), read.field("custom"), read.field("no")), ("x", "y", ""));
    }
}
