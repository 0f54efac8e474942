//! What is printed: where everything is, and what to type next.

use std::path::Path;

use crate::process::Endpoints;

/// What a start has to say.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    /// The bound addresses.
    pub(crate) endpoints: &'a Endpoints,
    /// Where everything is kept.
    pub(crate) data_dir: &'a Path,
    /// The first key, when this start created it.
    pub(crate) key: Option<&'a str>,
    /// The provider that answers.
    pub(crate) provider: &'a str,
    /// What an operator should know.
    pub(crate) notes: &'a [String],
}

impl Banner<'_> {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let Self { endpoints, data_dir, provider, .. } = self;
        let token = data_dir.join("admin-token");
        let mut lines = vec![
            String::new(),
            format!("Tollgate is running. {provider}"),
            String::new(),
            format!("  gateway                {}", endpoints.proxy),
            format!("  status and metrics     {}", endpoints.status),
            format!("  admin gRPC             {}", endpoints.admin),
            format!("  administrator's token  {}", token.display()),
            String::new(),
        ];
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        match self.key {
            Some(key) => lines.extend([
                "Point Claude Code at it (the key is shown this once):".to_owned(),
                String::new(),
                format!("  export ANTHROPIC_BASE_URL={}", endpoints.proxy),
                format!("  export ANTHROPIC_AUTH_TOKEN={key}"),
                "  claude".to_owned(),
            ]),
            None => lines.push(
                "The first key was shown at the first start. Make another with `tollgate key create`.".to_owned(),
            ),
        }
        lines.extend([
            String::new(),
            "And watch what it does:".to_owned(),
            String::new(),
            format!("  export TOLLGATE_SERVER={}", endpoints.admin),
            format!("  export TOLLGATE_TOKEN_FILE={}", token.display()),
            "  target/debug/tollgate usage report --by key --since 24h".to_owned(),
            "  target/debug/tollgate key create --name second --team default --model 'claude-*'".to_owned(),
            String::new(),
            "Ctrl-C ends it.".to_owned(),
            String::new(),
        ]);
        lines.join("\n")
    }
}
