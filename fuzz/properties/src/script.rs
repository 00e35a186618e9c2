//! The shell script of a plan as a shell reads it: what comes from a configuration stands in single quotes, and the
//! script has no other end than its own.

/// Names in configurations that a shell would run, were they not quoted.
pub(crate) const BAIT: &str = "$(BAIT)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Plain,
    /// Within '…': nothing means anything.
    Single,
    /// Within "…".
    Double,
    Comment,
}

/// Panics where the script would run what the configuration says.
pub(crate) fn check(script: &str) {
    let mut reading = Reading::Plain;
    // The line that ends the text within the script, while that is read.
    let mut within = None;
    for line in script.split('\n') {
        if within == Some(line) {
            assert!(reading == Reading::Plain, "a word ends the text within the script:\n{script}");
            within = None;
        }
        let mut rest = line;
        let mut at_start = true;
        while let Some(c) = rest.chars().next() {
            let baited = rest.starts_with(BAIT) && !matches!(reading, Reading::Single | Reading::Comment);
            assert!(!baited, "a word is run in {line:?}:\n{script}");
            let mut skip = c.len_utf8();
            reading = match (reading, c) {
                (Reading::Plain, '\'') => Reading::Single,
                (Reading::Plain, '"') => Reading::Double,
                (Reading::Plain, '#') if at_start => Reading::Comment,
                (Reading::Single, '\'') | (Reading::Double, '"') => Reading::Plain,
                (Reading::Plain | Reading::Double, '\\') => {
                    skip += rest.chars().nth(1).map_or(0, char::len_utf8);
                    reading
                }
                _ => reading,
            };
            at_start = reading == Reading::Plain && matches!(c, ' ' | '\t' | ';' | '&' | '|' | '(' | ')');
            rest = &rest[skip..];
        }
        if reading == Reading::Comment {
            reading = Reading::Plain;
        }
        if within.is_none() && reading == Reading::Plain {
            within = line.rsplit_once("<<'").and_then(|(_, end)| end.strip_suffix('\''));
        }
    }
    assert!(reading == Reading::Plain && within.is_none(), "the script has no end:\n{script}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_are_no_commands() {
        check(
            "# it's\nset -e # \"\necho 'a $(BAIT) # b' \"$ROOT\"'it'\\''s'\ncat > x <<'INIT'\nexport A='\n'\nINIT\n",
        );
    }

    #[test]
    fn all_others_are_found() {
        for script in [
            "echo $(BAIT)\n",
            "echo \"$(BAIT)\"\n",
            "echo it\\'s '$(BAIT)' '\n",
            "# a\n$(BAIT)\n",
            "cat <<'INIT'\nexport A='\nINIT\n'\n",
            "cat <<'INIT'\n",
            "a#$(BAIT)\n",
        ] {
            assert!(std::panic::catch_unwind(|| check(script)).is_err(), "{script}");
        }
    }
}
