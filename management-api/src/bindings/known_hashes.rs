/// Tables as JSON, and what Erlang's `phash2` says of them.
const KNOWN: &[(&str, u32)] = &[
    (r#"{"k": "v"}"#, 4035300420),
    (r#"{"x-match": "all", "a": 1}"#, 3805911816),
    (r#"{"n": 70000, "k": "v", "x": true}"#, 2482312280),
    (r#"{"x": false}"#, 1830728667),
    (r#"{"neg": -1}"#, 3289998009),
    (r#"{"neg": -70000, "big": 1099511627776}"#, 3031450500),
    (r#"{"big": -1099511627776}"#, 1730389011),
    (r#"{"edge": 134217727, "edge2": 134217728, "edge3": -134217728, "edge4": -134217729}"#, 2711243276),
    (r#"{"f": 1.5, "g": -0.25}"#, 379011937),
    (r#"{"": ""}"#, 3696638621),
    (r#"{"a longer key than twelve bytes": "and a value of exactly this many bytes, more than twelve"}"#, 2323311248),
    (r#"{"l": [1, "two", {"three": 3}, []], "t": {}}"#, 3135473822),
    (r#"{"twelve bytes": "eleven byte"}"#, 1726377363),
    (r#"{"ü": "ä"}"#, 1494037375),
];
