//! Providers that are known by name, as data: what to type for each of them is looked up once.
//!
//! A base URL ends where the path of its dialect begins, and may have placeholders, which whoever creates the provider fills in. A
//! quirk is there where the vendor's documents say so or leave it open: the older spelling is understood by all.

use std::collections::BTreeMap;

use crate::provider::{
    Dialect,
    Quirk::{self, MaxTokens, NoParallelTools, NoSchemaFormat, NoStreamOptions, ReasoningContent, SystemRole, TopK},
};

/// The longest value of a placeholder, in bytes: that of a DNS label.
pub const PLACEHOLDER_BYTES_MAX: usize = 63;
/// The placeholder that is also the provider's region.
pub const REGION: &str = "region";

/// A provider that is known by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preset {
    /// Its name, which is also that of the provider where nobody says another.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it is, with `{placeholder}`s.
    pub base_url: &'static str,
    /// Whether that is on this machine.
    pub is_local: bool,
    /// How it is shown a credential, as [`crate::provider::Auth::parse`] reads it.
    pub auth: &'static str,
    /// How it differs from its dialect's author.
    pub quirks: &'static [Quirk],
    /// The vendor under which the catalogue lists its models. One that the catalogue does not have has no prices.
    pub vendor: &'static str,
    /// The environment variable that usually has its key; empty: it takes none, or one of several parts.
    pub variable: &'static str,
    /// Where its vendor describes it.
    pub documentation: &'static str,
}

/// Why a preset cannot be filled in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfilled {
    /// A placeholder has no value.
    #[error("needs a value for {0}")]
    Missing(String),
    /// There is no such placeholder.
    #[error("has no placeholder {0}")]
    Unknown(String),
    /// A value is none for a URL.
    #[error("takes 1 to 63 letters, digits and '-' for {0}")]
    Malformed(String),
}

const BASE: Preset = Preset {
    name: "",
    title: "",
    dialect: Dialect::OpenAiChat,
    base_url: "",
    is_local: false,
    auth: "",
    quirks: &[],
    vendor: "",
    variable: "",
    documentation: "",
};

const SERVED_LOCALLY: Preset = Preset { is_local: true, auth: "none", ..BASE };

/// Every preset, by name.
pub const PRESETS: [Preset; 32] = [
    Preset {
        name: "anthropic",
        title: "Anthropic",
        dialect: Dialect::Anthropic,
        base_url: "https://api.anthropic.com",
        vendor: "anthropic",
        variable: "ANTHROPIC_API_KEY",
        documentation: "https://platform.claude.com/docs/en/api/messages",
        ..BASE
    },
    Preset {
        name: "azure-openai",
        title: "Azure OpenAI, Chat Completions",
        base_url: "https://{resource}.openai.azure.com/openai/v1",
        auth: "header:api-key",
        vendor: "azure",
        variable: "AZURE_OPENAI_API_KEY",
        documentation: "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        ..BASE
    },
    Preset {
        name: "azure-openai-responses",
        title: "Azure OpenAI, Responses",
        dialect: Dialect::OpenAiResponses,
        base_url: "https://{resource}.openai.azure.com/openai/v1",
        auth: "header:api-key",
        vendor: "azure",
        variable: "AZURE_OPENAI_API_KEY",
        documentation: "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/responses",
        ..BASE
    },
    Preset {
        name: "bedrock",
        title: "Amazon Bedrock, Converse",
        dialect: Dialect::BedrockConverse,
        base_url: "https://bedrock-runtime.{region}.amazonaws.com",
        auth: "sigv4",
        vendor: "aws",
        documentation: "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        ..BASE
    },
    Preset {
        name: "bedrock-invoke",
        title: "Amazon Bedrock, InvokeModel with Claude",
        dialect: Dialect::BedrockInvoke,
        base_url: "https://bedrock-runtime.{region}.amazonaws.com",
        auth: "sigv4",
        vendor: "aws",
        documentation: "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html",
        ..BASE
    },
    Preset {
        name: "cerebras",
        title: "Cerebras",
        base_url: "https://api.cerebras.ai/v1",
        quirks: &[SystemRole],
        vendor: "cerebras",
        variable: "CEREBRAS_API_KEY",
        documentation: "https://inference-docs.cerebras.ai/api-reference/chat-completions",
        ..BASE
    },
    Preset {
        name: "claude-on-aws",
        title: "Claude Platform on AWS",
        dialect: Dialect::Anthropic,
        base_url: "https://aws-external-anthropic.{region}.api.aws",
        auth: "sigv4",
        vendor: "anthropic",
        documentation: "https://platform.claude.com/docs/en/build-with-claude/claude-platform-on-aws",
        ..BASE
    },
    Preset {
        name: "cohere",
        title: "Cohere",
        base_url: "https://api.cohere.ai/compatibility/v1",
        quirks: &[MaxTokens, SystemRole, NoParallelTools],
        vendor: "cohere",
        variable: "CO_API_KEY",
        documentation: "https://docs.cohere.com/docs/compatibility-api",
        ..BASE
    },
    Preset {
        name: "deepseek",
        title: "DeepSeek",
        base_url: "https://api.deepseek.com",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, NoParallelTools, NoSchemaFormat],
        vendor: "deepseek",
        variable: "DEEPSEEK_API_KEY",
        documentation: "https://api-docs.deepseek.com/api/create-chat-completion",
        ..BASE
    },
    Preset {
        name: "fireworks",
        title: "Fireworks AI",
        base_url: "https://api.fireworks.ai/inference/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, TopK],
        vendor: "fireworks",
        variable: "FIREWORKS_API_KEY",
        documentation: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
        ..BASE
    },
    Preset {
        name: "foundry",
        title: "Microsoft Foundry, Claude",
        dialect: Dialect::Anthropic,
        base_url: "https://{resource}.services.ai.azure.com/anthropic",
        vendor: "azure-foundry",
        variable: "ANTHROPIC_FOUNDRY_API_KEY",
        documentation: "https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry",
        ..BASE
    },
    Preset {
        name: "foundry-openai",
        title: "Microsoft Foundry, Chat Completions",
        base_url: "https://{resource}.services.ai.azure.com/openai/v1",
        auth: "header:api-key",
        quirks: &[MaxTokens, SystemRole],
        vendor: "azure-foundry",
        variable: "AZURE_INFERENCE_CREDENTIAL",
        documentation: "https://learn.microsoft.com/azure/ai-foundry/foundry-models/concepts/endpoints",
        ..BASE
    },
    Preset {
        name: "gemini",
        title: "Google Gemini API",
        dialect: Dialect::Gemini,
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        vendor: "google",
        variable: "GEMINI_API_KEY",
        documentation: "https://ai.google.dev/api/generate-content",
        ..BASE
    },
    Preset {
        name: "groq",
        title: "Groq",
        base_url: "https://api.groq.com/openai/v1",
        quirks: &[SystemRole],
        vendor: "groq",
        variable: "GROQ_API_KEY",
        documentation: "https://console.groq.com/docs/openai",
        ..BASE
    },
    Preset {
        name: "huggingface",
        title: "Hugging Face Inference Providers",
        base_url: "https://router.huggingface.co/v1",
        quirks: &[MaxTokens, SystemRole],
        vendor: "huggingface",
        variable: "HF_TOKEN",
        documentation: "https://huggingface.co/docs/inference-providers/index",
        ..BASE
    },
    Preset {
        name: "mistral",
        title: "Mistral AI",
        base_url: "https://api.mistral.ai/v1",
        quirks: &[MaxTokens, SystemRole],
        vendor: "mistral",
        variable: "MISTRAL_API_KEY",
        documentation: "https://docs.mistral.ai/api/",
        ..BASE
    },
    Preset {
        name: "moonshot",
        title: "Moonshot AI (Kimi)",
        base_url: "https://api.moonshot.ai/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent],
        vendor: "moonshotai",
        variable: "MOONSHOT_API_KEY",
        documentation: "https://platform.moonshot.ai/docs/guide/migrating-from-openai-to-kimi",
        ..BASE
    },
    Preset {
        name: "nvidia",
        title: "NVIDIA NIM",
        base_url: "https://integrate.api.nvidia.com/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent],
        vendor: "nvidia",
        variable: "NVIDIA_API_KEY",
        documentation: "https://docs.api.nvidia.com/nim/reference/llm-apis",
        ..BASE
    },
    Preset {
        name: "ollama",
        title: "Ollama, on this machine",
        base_url: "http://127.0.0.1:11434/v1",
        quirks: &[MaxTokens, SystemRole],
        vendor: "ollama",
        documentation: "https://docs.ollama.com/api/openai-compatibility",
        ..SERVED_LOCALLY
    },
    Preset {
        name: "openai",
        title: "OpenAI, Chat Completions",
        base_url: "https://api.openai.com/v1",
        vendor: "openai",
        variable: "OPENAI_API_KEY",
        documentation: "https://platform.openai.com/docs/api-reference/chat",
        ..BASE
    },
    Preset {
        name: "openai-responses",
        title: "OpenAI, Responses",
        dialect: Dialect::OpenAiResponses,
        base_url: "https://api.openai.com/v1",
        vendor: "openai",
        variable: "OPENAI_API_KEY",
        documentation: "https://platform.openai.com/docs/api-reference/responses",
        ..BASE
    },
    Preset {
        name: "openrouter",
        title: "OpenRouter",
        base_url: "https://openrouter.ai/api/v1",
        quirks: &[MaxTokens, SystemRole, TopK],
        vendor: "openrouter",
        variable: "OPENROUTER_API_KEY",
        documentation: "https://openrouter.ai/docs/api/reference/overview",
        ..BASE
    },
    Preset {
        name: "perplexity",
        title: "Perplexity",
        base_url: "https://api.perplexity.ai",
        quirks: &[MaxTokens, SystemRole, NoParallelTools, NoStreamOptions],
        vendor: "perplexity",
        variable: "PERPLEXITY_API_KEY",
        documentation: "https://docs.perplexity.ai/api-reference/chat-completions-post",
        ..BASE
    },
    Preset {
        name: "qwen",
        title: "Alibaba Cloud Model Studio (Qwen, DashScope)",
        base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, TopK],
        vendor: "dashscope",
        variable: "DASHSCOPE_API_KEY",
        documentation: "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        ..BASE
    },
    Preset {
        name: "sambanova",
        title: "SambaNova Cloud",
        base_url: "https://api.sambanova.ai/v1",
        quirks: &[MaxTokens, SystemRole],
        vendor: "sambanova",
        variable: "SAMBANOVA_API_KEY",
        documentation: "https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        ..BASE
    },
    Preset {
        name: "sglang",
        title: "SGLang, on this machine",
        base_url: "http://127.0.0.1:30000/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, TopK],
        vendor: "sglang",
        documentation: "https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        ..SERVED_LOCALLY
    },
    Preset {
        name: "together",
        title: "Together AI",
        base_url: "https://api.together.ai/v1",
        quirks: &[MaxTokens, SystemRole, TopK],
        vendor: "together",
        variable: "TOGETHER_API_KEY",
        documentation: "https://docs.together.ai/docs/openai-api-compatibility",
        ..BASE
    },
    Preset {
        name: "vertex",
        title: "Google Vertex AI, Gemini",
        dialect: Dialect::Gemini,
        base_url: "https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/publishers/google",
        auth: "google",
        vendor: "vertex",
        documentation: "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
        ..BASE
    },
    Preset {
        name: "vertex-anthropic",
        title: "Google Vertex AI, Claude",
        dialect: Dialect::VertexAnthropic,
        base_url: "https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/publishers/anthropic",
        auth: "google",
        vendor: "vertex",
        documentation: "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude",
        ..BASE
    },
    Preset {
        name: "vllm",
        title: "vLLM, on this machine",
        base_url: "http://127.0.0.1:8000/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, TopK],
        vendor: "vllm",
        documentation: "https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html",
        ..SERVED_LOCALLY
    },
    Preset {
        name: "xai",
        title: "xAI",
        base_url: "https://api.x.ai/v1",
        quirks: &[MaxTokens, SystemRole, ReasoningContent],
        vendor: "x-ai",
        variable: "XAI_API_KEY",
        documentation: "https://docs.x.ai/docs/api-reference",
        ..BASE
    },
    Preset {
        name: "zai",
        title: "Z.ai (GLM)",
        base_url: "https://api.z.ai/api/paas/v4",
        quirks: &[MaxTokens, SystemRole, ReasoningContent, NoParallelTools, NoSchemaFormat],
        vendor: "zai",
        variable: "ZAI_API_KEY",
        documentation: "https://docs.z.ai/api-reference/llm/chat-completion",
        ..BASE
    },
];

impl Preset {
    /// The preset of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The placeholders of its base URL, each once.
    #[must_use]
    pub fn placeholders(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for part in self.base_url.split('{').skip(1) {
            let name = part.split('}').next().unwrap_or_default();
            if !found.contains(&name) {
                found.push(name);
            }
        }
        found
    }

    /// The base URL with its placeholders filled in. Values are letters, digits and `-` only, so that none leads elsewhere.
    ///
    /// # Errors
    /// Names the first placeholder that is missing, not known, or has no such value.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Result<String, Unfilled> {
        let placeholders = self.placeholders();
        if let Some(unknown) = values.keys().find(|name| !placeholders.contains(&name.as_str())) {
            return Err(Unfilled::Unknown(unknown.clone()));
        }
        let mut base_url = self.base_url.to_owned();
        for name in placeholders {
            let value = values.get(name).ok_or_else(|| Unfilled::Missing(name.to_owned()))?;
            let is_label = (1..=PLACEHOLDER_BYTES_MAX).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !is_label {
                return Err(Unfilled::Malformed(name.to_owned()));
            }
            base_url = base_url.replace(&format!("{{{name}}}"), value);
        }
        Ok(base_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::Name, provider::Auth};

    #[test]
    fn every_preset_makes_a_provider() {
        for preset in &PRESETS {
            let Preset { name, title, base_url, is_local, auth, quirks, vendor, documentation, .. } = *preset;
            assert!(Name::parse(name).is_ok() && Name::parse(vendor).is_ok() && !title.is_empty(), "{name}");
            assert!(Auth::parse(auth).is_ok_and(|read| read.text() == auth), "{name}");
            assert!(quirks.is_sorted_by(|one, other| one < other), "{name}: {quirks:?}");
            assert!(base_url.starts_with(if is_local { "http://127.0.0.1:" } else { "https://" }), "{name}");
            assert!(!base_url.ends_with('/') && documentation.starts_with("https://"), "{name}");
            assert!(
                preset.placeholders().iter().all(|name| ["region", "project", "resource"].contains(name)),
                "{name}"
            );
            assert!(auth != "sigv4" || preset.placeholders().contains(&REGION), "{name} signs for a region");
        }
        assert!(PRESETS.is_sorted_by(|one, other| one.name < other.name), "by name, each once");
    }

    #[test]
    fn placeholders_are_filled_in_and_nothing_else() {
        let values = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let vertex = Preset::named("vertex").unwrap();
        assert_eq!(vertex.placeholders(), ["region", "project"]);
        assert_eq!(
            vertex.fill(&values(&[("region", "europe-west1"), ("project", "p-1")])).unwrap(),
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west1/publishers/google"
        );
        for (list, refused) in [
            (&[("region", "r")][..], Unfilled::Missing("project".into())),
            (&[("region", "r"), ("project", "p"), ("zone", "z")], Unfilled::Unknown("zone".into())),
            (&[("region", "evil.example/"), ("project", "p")], Unfilled::Malformed("region".into())),
            (&[("region", ""), ("project", "p")], Unfilled::Malformed("region".into())),
        ] {
            assert_eq!(vertex.fill(&values(list)), Err(refused));
        }
        assert_eq!(Preset::named("groq").unwrap().fill(&BTreeMap::new()).unwrap(), "https://api.groq.com/openai/v1");
        assert_eq!(Preset::named("nobody"), None);
    }
}
