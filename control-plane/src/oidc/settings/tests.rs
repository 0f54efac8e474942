use super::*;

const GOOD: &str = "name = 'corp'\nurl = 'https://idp.example/realm'\nclient_id = 'tollgate'\nclient_secret = 'canary'";

fn parse(text: &str) -> Result<Vec<IssuerSettings>, Vec<Problem>> {
    read(text, &|source| match source {
        SecretSource::Literal(secret) => Ok(secret.clone()),
        _ => Err("the environment variable X is not set".to_owned()),
    })
}

fn places(text: &str) -> Vec<String> {
    let mut places: Vec<_> = parse(text).unwrap_err().into_iter().map(|(place, _)| place).collect();
    places.sort();
    places
}

#[test]
fn an_issuer_has_defaults_that_accept_little() {
    let issuers = parse(&format!("[[issuer]]\n{GOOD}")).unwrap();
    let [issuer] = issuers.as_slice() else { panic!("one") };
    assert_eq!(issuer.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!((issuer.mapping.groups_claim.as_str(), issuer.allow_private), ("/groups", false));
    assert!(issuer.bearer_audiences.is_empty() && issuer.mapping.email_domains.is_empty());
    assert_eq!(issuer.scopes, SCOPES);
    assert!(!format!("{issuer:?}").contains("canary"));
}

#[test]
fn every_problem_is_told_with_its_place() {
    for (lines, expect) in [
        ("url = 'https://h'\nnonsense = 1", vec!["client_id", "client_secret", "name", "nonsense"]),
        ("name = 'a'\nurl = 'http://h'\nclient_id = 'c'\nclient_secret = 's'", vec!["url"]),
        ("name = 'a'\nurl = 'https://127.0.0.1'\nclient_id = 'c'\nclient_secret = 's'", vec!["url"]),
        ("name = 'a'\nurl = 'http://127.0.0.1:9'\nallow_private = true\nclient_id = 'c'\nclient_secret = 's'", vec![]),
        (
            "name = 'A b'\nurl = 'https://h'\nclient_id = ''\nclient_secret = 'env://X'",
            vec!["client_id", "client_secret", "name"],
        ),
        (&format!("{GOOD}\nalgorithms = ['none', 'HS256', 'RS256']"), vec!["algorithms", "algorithms"]),
        (&format!("{GOOD}\nalgorithms = []"), vec!["algorithms"]),
        (&format!("{GOOD}\nscopes = ['email']"), vec!["scopes"]),
        (&format!("{GOOD}\ngroups_claim = 'groups'"), vec!["groups_claim"]),
        (&format!("{GOOD}\nemail_domains = [7]"), vec!["email_domains"]),
        (&format!("{GOOD}\nallow_private = 'yes'"), vec!["allow_private"]),
        (&format!("{GOOD}\nrules = [{{ claim = 'x', equals = 'y' }}]"), vec!["rules[0].claim", "rules[0].group"]),
        (
            &format!("{GOOD}\nrules = [{{ claim = '/x', equals = 'y', role = 'admin' }}]"),
            vec!["rules[0].group", "rules[0].role"],
        ),
        (&format!("{GOOD}\nrules = [{{ claim = '/x', equals = 'y', team = 't' }}]"), vec![]),
    ] {
        let text = format!("[[issuer]]\n{lines}");
        let expect: Vec<_> = expect.into_iter().map(|field| format!("issuer[0].{field}")).collect();
        match parse(&text) {
            Ok(_) => assert!(expect.is_empty(), "{text}"),
            Err(problems) => {
                assert_eq!(places(&text), expect, "{text}");
                assert!(!problems.iter().any(|(_, problem)| problem.contains("canary")));
            }
        }
    }
    assert_eq!(places("nonsense = 1"), ["issuer", "nonsense"]);
    assert_eq!(places("not toml"), ["file"]);
}

#[test]
fn no_two_issuers_share_a_name_an_address_or_the_beginning_of_a_prefix() {
    let two = |first: &str, second: &str| {
        let issuer = |name: &str, url: &str, prefix: &str| {
            format!(
                "[[issuer]]\nname='{name}'\nurl='{url}'\nclient_id='c'\nclient_secret='s'\ngroup_prefix='{prefix}'\n"
            )
        };
        issuer("one", "https://one.example", first) + &issuer("two", "https://two.example", second)
    };
    for (first, second, good) in [
        ("a:", "b:", true),
        ("", "b:", true),
        ("", "", false),
        ("a:", "a:", false),
        ("a", "ab", false),
        ("ab", "a", false),
    ] {
        assert_eq!(parse(&two(first, second)).is_ok(), good, "{first:?} {second:?}");
    }
    let issuers = parse(&two("", "b:")).unwrap();
    assert_eq!(issuers[0].mapping.foreign_prefixes, ["b:"]);
    assert!(issuers[1].mapping.foreign_prefixes.is_empty());
    let same = format!("[[issuer]]\n{GOOD}\n[[issuer]]\n{GOOD}\ngroup_prefix = 'x'");
    assert_eq!(places(&same), ["issuer[1].name", "issuer[1].url"]);
}
