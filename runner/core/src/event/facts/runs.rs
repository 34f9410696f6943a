//! What becomes of a run: from its plan, through what people say and what is done, to its end.

macro_rules! facts_of_runs {
    ([$next:ident $(, $rest:ident)*] $($before:tt)*) => { $next! { [$($rest),*] $($before)*

    /// A run was made for an alert or by hand.
    RunCreated = "run-created" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Digest of the runbook, guardrails and people files.
            policy: Digest,
            /// The plugins of its steps, with the exact bytes.
            plugins: Vec<(String, Digest)>,
            /// Plan only, or act.
            mode: Mode,
            /// Whether it waits for its turn at the target.
            queued: bool,
            /// Whether an effect of it cannot be taken back.
            irreversible: bool,
            /// Whether it is a drill.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            drill: bool,
        }
        payload {
            /// The target, as the runbook's template gives it.
            target: Option<String>,
            /// The host that the target denotes.
            host: Option<String>,
            /// The rendered inputs of the steps.
            inputs: Vec<Arc<Value>>,
            /// The labels that the templates saw.
            labels: Arc<std::collections::BTreeMap<String, String>>,
            /// How recovery is verified.
            verify: Option<VerifyPlan>,
            /// Who started it by hand.
            by: Option<String>,
            /// Why it was started by hand.
            comment: Option<String>,
            /// What was decided before.
            decisions: Vec<Decision>,
            /// How the steps follow each other, and what follows them.
            #[serde(default, skip_serializing_if = "Flow::is_silent")]
            flow: Flow,
            /// The synthetic alert of a drill.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            drill: Option<Arc<Alert>>,
        }
    }
    /// The run is planned now.
    RunPlanning = "run-planning" { leaf {} payload {} }
    /// The run has a plan.
    RunPlanned = "run-planned" {
        leaf {
            /// The plan's digest.
            plan: Digest,
            /// How many effects it holds.
            effects: u32,
            /// Whether people are asked.
            ask: bool,
            /// Digest of the policy that it was judged by.
            policy: Digest,
        }
        payload {
            /// The plan, step by step.
            steps: Vec<StepPlan>,
            /// Whom to ask, if anybody.
            asked: Option<Ask>,
            /// What was decided over the plan.
            decisions: Vec<Decision>,
            /// What the plugins logged.
            log: Vec<String>,
            /// What differs from the plan before it.
            changes: Vec<String>,
            /// What would take the steps back, in the order in which that is done.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            undo: Vec<StepPlan>,
        }
    }
    /// A person approved the plan.
    RunApproved = "run-approved" {
        leaf {
            /// The plan that was shown.
            plan: Digest,
            /// The policy under which it was decided.
            policy: Digest,
        }
        payload {
            /// Who, and what they said.
            approval: Approval,
        }
    }
    /// Nobody answered for a while, and somebody else is told.
    RunEscalated = "run-escalated" {
        leaf {
            /// The rung of the ladder, from 0.
            rung: u32,
            /// Who is told, by the name in the runbook.
            to: String,
        }
        payload {}
    }
    /// A person took the run over, to do it by hand: it does no further effect.
    RunTakenOver = "run-taken-over" {
        leaf {}
        payload {
            /// Who.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The run was given back: it is planned anew and asks anew.
    RunGivenBack = "run-given-back" {
        leaf {}
        payload {
            /// Who.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// A person broke the glass: the run passes what would have held it.
    GlassBroken = "glass-broken" {
        leaf {
            /// What it passes.
            passes: Passes,
            /// The plan that was shown; none where there was no plan yet.
            plan: Option<Digest>,
        }
        payload {
            /// Who.
            by: String,
            /// Why: a justification that a second person reviews.
            reason: String,
        }
    }
    /// A second person looked at why the glass was broken.
    JustificationReviewed = "justification-reviewed" {
        leaf {
            /// Which time that the glass of this run was broken, from 0.
            glass: u32,
            /// Whether it was justified.
            justified: bool,
        }
        payload {
            /// Who reviewed it.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The gate made an act permit.
    RunPermitted = "run-permitted" {
        leaf {
            /// The plan that the permit is bound to.
            plan: Digest,
            /// Whether people approved it.
            approved: bool,
        }
        payload {}
    }
    /// An effect is about to be done. Durable before it is.
    EffectIntended = "effect-intended" {
        leaf {
            /// The step, from 0; the undo of step 0 is 1000, and so on.
            step: u32,
            /// The effect within the step, from 0.
            effect: u32,
            /// The capability.
            capability: Text,
            /// The function.
            function: Text,
            /// The idempotency key, the same in every retry.
            key: String,
            /// What may be done when it is in doubt.
            repeat: Repeat,
            /// Whether the plan holds it.
            planned: bool,
            /// Fuel left.
            fuel: u64,
        }
        payload {
            /// The call.
            call: Call,
            /// Why, in the plugin's words.
            reason: String,
            /// How that which it acts on was just before, where that tells later whether it happened.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            before: Option<Value>,
        }
    }
    /// What became of an intended effect.
    EffectSettled = "effect-settled" {
        leaf {
            /// The step.
            step: u32,
            /// The effect within the step.
            effect: u32,
            /// Done, failed or unknown.
            status: EffectStatus,
        }
        payload {
            /// What the plugin was answered; none for an effect in doubt.
            answer: Option<Answer>,
            /// The person who settled it, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// A reading while the run acts.
    ReadingMade = "reading-made" {
        leaf {
            /// The step.
            step: u32,
            /// The capability.
            capability: Text,
            /// The function.
            function: Text,
            /// Fuel left.
            fuel: u64,
            /// How often the host looked.
            polls: u32,
        }
        payload {
            /// The call.
            call: Call,
            /// The answer.
            answer: Answer,
        }
    }
    /// A reading that the run rests on was made again before the run went on, and answers otherwise: from this call
    /// of the step on, its plugin is asked anew. What was done since stays done.
    ReadingChanged = "reading-changed" {
        leaf {
            /// The step.
            step: u32,
            /// How many of the step's calls before it still hold.
            calls: u32,
            /// The capability.
            capability: Text,
            /// The function.
            function: Text,
        }
        payload {
            /// The call.
            call: Call,
            /// What it answered.
            before: Answer,
            /// What it answers.
            now: Answer,
        }
    }
    /// The broker refused a call.
    CallDenied = "call-denied" {
        leaf {
            /// The step.
            step: u32,
            /// The capability.
            capability: Text,
            /// The function.
            function: Text,
            /// Fuel left.
            fuel: u64,
        }
        payload {
            /// The call.
            call: Call,
            /// What the plugin was told.
            answer: Answer,
        }
    }
    /// A step's plugin came to its end.
    StepEnded = "step-ended" {
        leaf {
            /// The step.
            step: u32,
            /// `returned`, `failed` or a trap's word.
            ending: String,
            /// Fuel used.
            fuel: u64,
        }
        payload {
            /// The plugin's result.
            result: Option<Value>,
            /// The error's code and message.
            error: Option<String>,
            /// What it logged.
            log: Vec<String>,
        }
    }
    /// A step is left out, because its condition does not hold.
    StepSkipped = "step-skipped" {
        leaf {
            /// The step.
            step: u32,
        }
        payload {
            /// Why.
            message: String,
        }
    }
    /// A step failed in a way that may pass, and is tried again.
    StepRetried = "step-retried" {
        leaf {
            /// The step.
            step: u32,
            /// Which retry, from 1.
            retry: u32,
            /// When.
            due: DateTime<Utc>,
        }
        payload {
            /// How it failed.
            message: String,
        }
    }
    /// The run waits for people, after something may have been done.
    RunParked = "run-parked" {
        leaf {
            /// Why.
            code: Code,
            /// The step.
            step: u32,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The effect in question.
            question: Option<EffectRecord>,
            /// Whom to ask.
            asked: Option<Ask>,
        }
    }
    /// The run goes on after it was parked.
    RunResumed = "run-resumed" { leaf {} payload {} }
    /// A person, or the time, ended the waiting after something may have been done: no further effect, and the
    /// probes have the word.
    RunGivenUp = "run-given-up" {
        leaf {
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The person, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The probes look whether the world recovered.
    RunVerifying = "run-verifying" { leaf {} payload {} }
    /// What the probes said.
    RunProbed = "run-probed" {
        leaf {
            /// Before the first effect, or after the last.
            baseline: bool,
            /// One word a probe.
            answers: Vec<ProbeAnswer>,
        }
        payload {
            /// One sentence a probe.
            details: Vec<String>,
        }
    }
    /// What the run did is taken back, and then it ends like this.
    RunUndoing = "run-undoing" {
        leaf {
            /// How.
            outcome: Outcome,
            /// What the probes said.
            verdict: Option<Verdict>,
            /// Why it ends so.
            code: Code,
            /// Whether that waits until the alert is over.
            waits: bool,
        }
        payload {
            /// Why it ends so, in a sentence.
            message: String,
            /// Why it is taken back.
            why: String,
        }
    }
    /// The alert is over, and the undo that waited for that begins.
    UndoBegun = "undo-begun" { leaf {} payload {} }
    /// The undo came to its end.
    UndoEnded = "undo-ended" {
        leaf {
            /// Where it stands.
            state: UndoState,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
        }
    }
    /// The run is over. Nothing follows.
    RunEnded = "run-ended" {
        leaf {
            /// How.
            outcome: Outcome,
            /// What the probes said, where they were asked.
            verdict: Option<Verdict>,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The person who ended it, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
            /// What was decided at the end.
            decisions: Vec<Decision>,
        }
    }
    /// After a run that was thought to have fixed it, a person had to step in or the alert fired again: it counts as
    /// one that did not. The run stays as it ended.
    RunIntervened = "run-intervened" {
        leaf {
            /// What happened.
            how: Intervention,
        }
        payload {
            /// Who, where a person did it.
            by: Option<String>,
        }
    }

    } };
}
