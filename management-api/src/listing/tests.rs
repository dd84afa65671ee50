use axum::{body::to_bytes, http::StatusCode};
use serde_json::json;

use super::*;

fn items() -> Vec<Ready> {
    let item = |name: &str, messages: i64| {
        let details = json!({ "rate": messages * 2, "samples": [] });
        Ready(json!({ "name": name, "vhost": "/", "messages": messages, "details": details }))
    };
    vec![item("b.one", 3), item("A.two", 1), item("c.one", 3)]
}

async fn answer(response: Result<Response, Error>) -> (StatusCode, Value) {
    let response = response.unwrap_or_else(|error| error.into_response());
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn page(query: &str) -> Value {
    let response = paged(items(), &["vhost", "name"], &Query::parse(query));
    answer(response).await.1
}

fn names(items: &Value) -> Vec<&str> {
    let items = items.as_array().unwrap();
    items
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_comes_in_its_own_order_or_in_that_of_a_field() {
    assert_eq!(names(&page("").await), ["A.two", "b.one", "c.one"]);
    let by_messages = page("sort=messages").await;
    assert_eq!(names(&by_messages), ["A.two", "b.one", "c.one"]);
    let reversed = page("sort=details.rate&sort_reverse=true").await;
    assert_eq!(names(&reversed), ["c.one", "b.one", "A.two"]);
    let missing = page("sort=no.such&sort_reverse=false").await;
    assert_eq!(names(&missing), ["A.two", "b.one", "c.one"]);
}

#[tokio::test]
async fn a_page_says_how_much_there_is() {
    let second = page("page=2&page_size=2").await;
    assert_eq!(names(&second["items"]), ["c.one"]);
    let counts = json!({
        "filtered_count": 3, "item_count": 1, "page": 2, "page_count": 2, "page_size": 2, "total_count": 3,
        "items": second["items"],
    });
    assert_eq!(second, counts);
    let filtered = page("page=1&name=ONE&columns=name").await;
    assert_eq!(
        filtered,
        json!({
            "filtered_count": 2, "item_count": 2, "page": 1, "page_count": 1, "page_size": 100, "total_count": 3,
            "items": [{ "name": "b.one" }, { "name": "c.one" }],
        })
    );
}

#[tokio::test]
async fn names_are_filtered_by_a_regular_expression_in_letters_of_any_case() {
    let found = page("page=1&name=^(a|c)&use_regex=true").await;
    assert_eq!(names(&found["items"]), ["A.two", "c.one"]);
    let none = page("page=1&name=(&use_regex=true").await;
    assert_eq!(none["filtered_count"], 0);
    assert_eq!(none["total_count"], 3);
}

#[tokio::test]
async fn columns_reach_into_objects() {
    let columns = page("columns=name,details.rate").await;
    assert_eq!(
        columns[0],
        json!({ "name": "A.two", "details": { "rate": 2 } })
    );
    let whole = page("columns=details,details.rate").await;
    let details = json!({ "details": { "rate": 2, "samples": [] } });
    assert_eq!(whole[0], details);
}

#[tokio::test]
async fn pages_that_make_no_sense_are_refused_in_rabbitmqs_words() {
    let invalid = "invalid_pagination_parameters";
    for (query, error, reason) in [
        ("page=x", "bad_request", "Pagination parameters are invalid"),
        (
            "page=0&page_size=5",
            invalid,
            "Invalid pagination parameters: page number 0, page size 5",
        ),
        (
            "page=0",
            invalid,
            "Invalid pagination parameters: page number 0, page size undefined",
        ),
        (
            "page=1&page_size=501",
            invalid,
            "Invalid pagination parameters: page number 1, page size 501",
        ),
        (
            "page=3&page_size=2",
            "page_out_of_range",
            "Page out of range, page: 3 page size: 2, len: 3",
        ),
    ] {
        let response = paged(items(), &[], &Query::parse(query));
        let (status, body) = answer(response).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(body, json!({ "error": error, "reason": reason }), "{query}");
    }
    let behind = page("page=4&page_size=1").await;
    assert_eq!(behind["item_count"], 0);
}

#[tokio::test]
async fn a_long_list_comes_in_pieces_and_whole() {
    let item = |number: i64| {
        Ready(json!({ "name": format!("queue {number:06}"), "filler": "x".repeat(100) }))
    };
    let response = paged(
        (0..20_000).map(item).collect(),
        &["name"],
        &Query::default(),
    );
    let (status, body) = answer(response).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body.as_array().unwrap().len(), 20_000);
}

#[tokio::test]
async fn pages_laid_end_to_end_are_the_whole_list_in_order() {
    let item = |number: i64| {
        let (name, messages) = (format!("queue {number:03}"), number * 7919 % 10);
        Ready(json!({ "name": name, "messages": messages }))
    };
    let items = || (0..100).map(item).collect::<Vec<_>>();
    for sort in [
        "",
        "&sort=messages",
        "&sort=messages&sort_reverse=true",
        "&sort=no",
    ] {
        let whole = paged(items(), &["name"], &Query::parse(sort));
        let whole = answer(whole).await.1;
        let mut pages = Vec::new();
        for number in 1..=10 {
            let query = format!("page={number}&page_size=10{sort}");
            let page = answer(paged(items(), &["name"], &Query::parse(&query)))
                .await
                .1;
            pages.extend(page["items"].as_array().unwrap().clone());
        }
        assert_eq!(whole, Value::Array(pages), "{sort}");
    }
}
