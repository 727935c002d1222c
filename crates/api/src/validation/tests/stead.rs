//! Rows of the `stead.io` group.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{check, check_update, faults, with};
use crate::resource::Part;

const GROUP: &str = "stead.io";
const PLURAL: &str = "statefulsetpolicies";

fn policy() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "1"},
        "spec": {
            "statefulSetName": "web",
            "rollout": {"maxUnavailable": "30%", "progressDeadlineSeconds": 60, "onDeadline": "Return"},
            "scaling": {"maxUnavailable": 2},
            "ordinals": {"reserved": ["1", "3-5"], "claims": "Delete"},
        },
    })
}

fn created(changes: &[(&str, Value)], wanted: &Expect) {
    check(GROUP, PLURAL, &with(&policy(), changes), wanted);
}

#[test]
fn a_whole_policy_is_fine() {
    created(&[], &expect![""]);
    check_update(GROUP, PLURAL, &policy(), &policy(), &expect![""]);
}

#[test]
fn the_name_of_the_set() {
    created(
        &[("/spec/statefulSetName", Value::Null)],
        &expect![[r#"
        spec.statefulSetName: Required value
    "#]],
    );
    created(
        &[("/spec/statefulSetName", json!("a.b"))],
        &expect![[r#"
        spec.statefulSetName: Invalid value: "a.b": must not contain dots
    "#]],
    );
    let other = with(&policy(), &[("/spec/statefulSetName", json!("db"))]);
    check_update(
        GROUP,
        PLURAL,
        &other,
        &policy(),
        &expect![[r#"
        spec.statefulSetName: Invalid value: "db": field is immutable
    "#]],
    );
}

#[test]
fn max_unavailable() {
    for (value, wanted) in [
        (json!(1), expect![]),
        (
            json!(0),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: 0: cannot be 0
        "#]],
        ),
        (
            json!(-1),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
        "#]],
        ),
        (json!("100%"), expect![]),
        (
            json!("0%"),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: "0%": cannot be 0
        "#]],
        ),
        (
            json!("101%"),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        "#]],
        ),
        (
            json!("99999999999999999999%"),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: "99999999999999999999%": must not be greater than 100%
        "#]],
        ),
        (
            json!("-5%"),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: "-5%": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.rollout.maxUnavailable: Invalid value: "-5%": cannot be 0
        "#]],
        ),
        (
            json!("5"),
            expect![[r#"
            spec.rollout.maxUnavailable: Invalid value: "5": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.rollout.maxUnavailable: Invalid value: "5": cannot be 0
        "#]],
        ),
    ] {
        created(&[("/spec/rollout/maxUnavailable", value)], &wanted);
    }
    created(
        &[("/spec/scaling/maxUnavailable", json!(0))],
        &expect![[r#"
            spec.scaling.maxUnavailable: Invalid value: 0: cannot be 0
        "#]],
    );
}

#[test]
fn words_and_deadlines() {
    for (pointer, value, wanted) in [
        (
            "/spec/rollout/creation",
            json!("Together"),
            expect![[r#"
                spec.rollout.creation: Unsupported value: "Together": supported values: "Batched", "Ordered"
            "#]],
        ),
        (
            "/spec/rollout/onDeadline",
            json!("Panic"),
            expect![[r#"
                spec.rollout.onDeadline: Unsupported value: "Panic": supported values: "None", "Return"
            "#]],
        ),
        (
            "/spec/rollout/progressDeadlineSeconds",
            json!(0),
            expect![[r#"
                spec.rollout.progressDeadlineSeconds: Invalid value: 0: must be greater than 0
            "#]],
        ),
        (
            "/spec/rollout/progressDeadlineSeconds",
            Value::Null,
            expect![[r#"
                spec.rollout.progressDeadlineSeconds: Required value: must be specified when onDeadline is 'Return'
            "#]],
        ),
        (
            "/spec/ordinals/claims",
            json!("Recycle"),
            expect![[r#"
                spec.ordinals.claims: Unsupported value: "Recycle": supported values: "Delete", "Retain"
            "#]],
        ),
    ] {
        created(&[(pointer, value)], &wanted);
    }
}

#[test]
fn reserved_ordinals() {
    let reserved = json!(["1", "x", "5-3", "2147483648", "1"]);
    created(
        &[("/spec/ordinals/reserved", reserved)],
        &expect![[r#"
            spec.ordinals.reserved[1]: Invalid value: "x": a reserved ordinal must be a number or a range of numbers (e.g. '1',  or '3-5', regex used for validation is '(0|[1-9][0-9]*)(-(0|[1-9][0-9]*))?')
            spec.ordinals.reserved[2]: Invalid value: "5-3": the end of a range must be greater than or equal to its start
            spec.ordinals.reserved[3]: Invalid value: "2147483648": an ordinal must be less than or equal to 2147483647
            spec.ordinals.reserved[4]: Duplicate value: "1"
        "#]],
    );
}

#[test]
fn status() {
    let time = "2026-01-01T00:00:00Z";
    let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": time});
    let conditions = json!([
        condition("Accepted", "True", "Accepted"),
        condition("Accepted", "Maybe", "Accepted"),
        condition("", "True", ""),
    ]);
    let status = json!({"observedGeneration": -1, "conditions": conditions});
    let new = with(&policy(), &[("/status", status)]);
    expect![[r#"
        status.observedGeneration: Invalid value: -1: must be greater than or equal to 0
        status.conditions[1].type: Duplicate value: "Accepted"
        status.conditions[1].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
        status.conditions[2].type: Required value: must be set
        status.conditions[2].reason: Required value: must be set
    "#]]
    .assert_eq(&faults(GROUP, PLURAL, &new, Some(&policy()), Part::Status));
}
