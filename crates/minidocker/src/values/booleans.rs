//! `--rm=false`: the words for yes and no that Docker's options know (Go's strconv.ParseBool).

/// True or false.
pub(crate) fn parse(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_gos_words_and_no_others() {
        for yes in ["1", "t", "true", "True"] {
            assert_eq!(parse(yes), Ok(true));
        }
        for no in ["0", "f", "false", "FALSE"] {
            assert_eq!(parse(no), Ok(false));
        }
        for neither in ["", "yes", "no", "2", "tRUE", " true"] {
            assert_eq!(parse(neither), Err("neither true nor false".to_owned()));
        }
    }
}
