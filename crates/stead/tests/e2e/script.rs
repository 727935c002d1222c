//! Transcripts: Markdown whose `console` blocks hold commands and what they print.

use std::{fs, path::Path};

/// One command of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where it stands.
    pub(crate) line: usize,
    /// A line of shell.
    pub(crate) command: String,
    /// The lines it prints.
    pub(crate) output: Vec<String>,
    /// Its exit status.
    pub(crate) status: i32,
}

impl Step {
    /// A read that may be repeated until the write before it has taken effect.
    pub(crate) fn is_read(&self) -> bool {
        let reads = [
            "kubectl get ",
            "kubectl describe ",
            "kubectl logs ",
            "kubectl rollout history ",
            "curl -s ",
        ];
        let once = ["-X POST", "kubectl exec"];
        let command = self.command.as_str();
        let looped = command.starts_with("for ") && command.contains("curl -s");
        (looped || reads.iter().any(|read| command.starts_with(read)))
            && !once.iter().any(|word| command.contains(word))
    }
}

/// The steps of a transcript, in order.
pub(crate) fn read(path: &Path) -> Vec<Step> {
    steps(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim() {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => (),
            _ => {
                if let Some(command) = line.strip_prefix("$ ") {
                    let (command, output) = (command.to_owned(), Vec::new());
                    steps.push(Step { line: number + 1, command, output, status: 0 });
                } else if let Some(step) = steps.last_mut() {
                    match line.strip_prefix("? ").and_then(|status| status.trim().parse().ok()) {
                        Some(status) if step.output.is_empty() => step.status = status,
                        _ => step.output.push(line.to_owned()),
                    }
                }
            }
        }
    }
    steps
}

#[test]
fn reads_commands_output_and_status() {
    let text = "Words.\n```console\n$ true\n$ false\n? 1\nno\n```\n$ not this\n";
    let found = steps(text);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].status), ("true", 0));
    assert_eq!((found[1].status, found[1].output.as_slice()), (1, &["no".to_owned()][..]));
    assert_eq!(found[1].line, 4);
}
