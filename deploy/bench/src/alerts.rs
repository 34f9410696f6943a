//! The alerts that are sent: Alertmanager's webhook with one alert, all alike but for their number.

/// The name of the alert that leads to the plugin of the road.
pub(crate) const NAME: &str = "Bench";

/// Where the number of an alert stands in its label, and in the path of the request that it leads to.
pub(crate) fn instance(number: u64) -> String {
    format!("n{number}")
}

/// The number in a path like `/act/n17`.
pub(crate) fn number(path: &str) -> Option<u64> {
    path.rsplit_once("/n")?.1.parse().ok()
}

/// The body of the webhook for one firing alert, about as long as a real one.
pub(crate) fn body(number: u64) -> String {
    body_for(NAME, number)
}

/// The same under another alert name, for another runbook.
pub(crate) fn body_for(name: &str, number: u64) -> String {
    let instance = instance(number);
    let labels = format!(
        r#"{{"alertname":"{name}","instance":"{instance}","job":"bench","severity":"critical","zone":"eu-west-1a"}}"#
    );
    let annotations = format!(
        r#"{{"summary":"{instance} does not answer","description":"{instance} of job bench has not answered for 2 minutes"}}"#
    );
    format!(
        r#"{{"version":"4","groupKey":"{{}}:{{alertname=\"{name}\"}}","truncatedAlerts":0,"status":"firing","receiver":"staunch","groupLabels":{{"alertname":"{name}"}},"commonLabels":{labels},"commonAnnotations":{annotations},"externalURL":"http://alertmanager:9093","alerts":[{{"status":"firing","labels":{labels},"annotations":{annotations},"startsAt":"2026-01-02T03:04:05.678Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus:9090/graph?g0.expr=up+%3D%3D+0","fingerprint":"{number:016x}"}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_survives_the_road() {
        assert_eq!(number(&format!("/act/{}", instance(17))), Some(17));
        assert_eq!(number("/act/17"), None);
        let body: serde_json::Value = serde_json::from_str(&body(17)).unwrap();
        assert_eq!(body["alerts"][0]["labels"]["instance"], "n17");
    }
}
