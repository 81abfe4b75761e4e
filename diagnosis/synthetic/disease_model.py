"""The generative model of the embedded corpus: demographics -> condition -> findings, and the best that it allows.

A note mentions some findings, each as present, negated, historical or of a family member. Conditions of one body system
share a pool of findings that any of them makes a physician ask about; which condition it is shows in how they are
stated. So the words alone tell the body system, and the reading of them the condition.
"""

from typing import NamedTuple

import numpy as np

ASSERTIONS = ("present", "negated", "historical", "family")
AGE_BANDS = (45, 65)  # exclusive upper ends of the first two of three bands, in years
OLDER = 65  # from here on Medicare is the usual insurance


class Condition(NamedTuple):
    """A diagnosis (ICD-10-CM, and ICD-9-CM with its title): its share of the notes before age and sex weigh in, and the factors
    by age band and for women.
    """

    code: str
    code_9: str
    title: str
    title_9: str
    share: float
    by_age: tuple[float, float, float]
    women: float
    system: str
    typical: str


CONDITIONS = (
    Condition("I509", "4280", "Heart failure, unspecified", "Congestive heart failure, unspecified", 0.30, (0.2, 0.9, 1.3), 0.9, "chest", "dyspnea, orthopnea, leg swelling, weight gain, low oxygen"),
    Condition("J189", "486", "Pneumonia, unspecified organism", "Pneumonia, organism unspecified", 0.18, (0.9, 0.9, 1.1), 1.0, "chest", "cough, sputum, chest pain, chills, fever, leukocytosis"),
    Condition("N179", "5849", "Acute kidney failure, unspecified", "Acute kidney failure, unspecified", 0.13, (0.6, 1.0, 1.2), 0.9, "abdomen", "low urine output, nausea, leg swelling, high creatinine"),
    Condition("K859", "5770", "Acute pancreatitis, unspecified", "Acute pancreatitis", 0.10, (1.2, 1.2, 0.8), 0.9, "abdomen", "abdominal pain, nausea, vomiting, high lipase"),
    Condition("L03115", "6826", "Cellulitis of right lower limb", "Cellulitis and abscess of leg, except foot", 0.08, (1.0, 1.1, 0.9), 0.9, "skin", "leg redness, leg swelling, chills, fever, leukocytosis"),
    Condition("I639", "43491", "Cerebral infarction, unspecified", "Cerebral artery occlusion, unspecified with cerebral infarction", 0.065, (0.3, 0.9, 1.3), 1.0, "nerves", "facial droop, arm weakness, slurred speech"),
    Condition("F10231", "2910", "Alcohol dependence with withdrawal delirium", "Alcohol withdrawal delirium", 0.05, (1.4, 1.3, 0.5), 0.5, "nerves", "tremor, hallucinations, sweating, tachycardia"),
    Condition("J441", "49121", "Chronic obstructive pulmonary disease with acute exacerbation", "Obstructive chronic bronchitis with (acute) exacerbation", 0.04, (0.2, 1.0, 1.3), 1.0, "chest", "wheezing, dyspnea, sputum, low oxygen"),
    Condition("G40909", "34590", "Epilepsy, unspecified", "Epilepsy, unspecified, without mention of intractable epilepsy", 0.03, (1.8, 0.9, 0.7), 1.0, "nerves", "convulsions, loss of consciousness, tongue biting"),
    Condition("E1010", "25011", "Type 1 diabetes mellitus with ketoacidosis", "Diabetes with ketoacidosis, type I [juvenile type], not stated as uncontrolled", 0.023, (2.5, 0.6, 0.3), 1.0, "abdomen", "thirst, frequent urination, vomiting, high glucose"),
    Condition("C3490", "1629", "Malignant neoplasm of unspecified part of bronchus or lung", "Malignant neoplasm of bronchus and lung, unspecified", 0.010, (0.1, 1.0, 1.4), 0.9, "chest", "hemoptysis, weight loss, cough, night sweats"),
    Condition("M329", "7100", "Systemic lupus erythematosus, unspecified", "Systemic lupus erythematosus", 0.009, (1.8, 1.0, 0.6), 1.8, "skin", "joint pain, rash, mouth sores, hair loss"),
)  # fmt: skip


class Finding(NamedTuple):
    """A symptom with the phrases it is written in (and an abbreviation), or a measurement with its normal and its abnormal range."""

    name: str
    phrases: tuple[str, ...] = ()
    abbreviation: str | None = None
    test: str | None = None
    unit: str = ""
    normal: tuple[float, float] = (0, 0)
    abnormal: tuple[float, float] = (0, 0)
    decimals: int = 0


FINDINGS = (
    Finding("dyspnea", ("shortness of breath", "trouble breathing", "breathlessness"), "SOB"),
    Finding("orthopnea", ("orthopnea", "needing three pillows to sleep", "breathlessness when lying flat")),
    Finding("leg swelling", ("leg swelling", "swollen ankles", "edema of both legs"), "LE edema"),
    Finding("weight gain", ("weight gain", "gaining weight", "a rise in weight"), "wt gain"),
    Finding("cough", ("cough", "coughing", "a cough that keeps coming")),
    Finding("sputum", ("yellow sputum", "thick phlegm", "bringing up phlegm")),
    Finding("chest pain", ("chest pain", "pain in the chest", "chest discomfort"), "CP"),
    Finding("wheezing", ("wheezing", "a whistling breath", "audible wheeze")),
    Finding("hemoptysis", ("coughing up blood", "hemoptysis", "blood-streaked phlegm")),
    Finding("weight loss", ("weight loss", "losing weight", "a drop in weight"), "wt loss"),
    Finding("night sweats", ("night sweats", "drenching sweats at night", "waking up soaked")),
    Finding("chills", ("chills", "shaking chills", "rigors")),
    Finding("abdominal pain", ("abdominal pain", "pain in the belly", "upper abdominal pain"), "abd pain"),
    Finding("nausea", ("nausea", "feeling sick to the stomach", "queasiness")),
    Finding("vomiting", ("vomiting", "emesis", "throwing up")),
    Finding("diarrhea", ("diarrhea", "loose stools", "watery stools")),
    Finding("low urine output", ("low urine output", "passing little urine", "decreased urination"), "low UOP"),
    Finding("flank pain", ("flank pain", "pain in the flank", "side pain")),
    Finding("thirst", ("excessive thirst", "constant thirst", "drinking water all day")),
    Finding("frequent urination", ("frequent urination", "urinating often", "passing urine every hour")),
    Finding("facial droop", ("facial droop", "a drooping face", "facial asymmetry")),
    Finding("arm weakness", ("arm weakness", "weakness of one arm", "a limp arm")),
    Finding("slurred speech", ("slurred speech", "garbled speech", "trouble forming words")),
    Finding("headache", ("headache", "head pain", "a pounding head"), "HA"),
    Finding("convulsions", ("convulsions", "jerking of all limbs", "shaking of the whole body")),
    Finding("loss of consciousness", ("loss of consciousness", "passing out", "blacking out"), "LOC"),
    Finding("tongue biting", ("a bitten tongue", "tongue biting", "a tongue laceration")),
    Finding("tremor", ("tremor", "trembling hands", "shaky hands")),
    Finding("hallucinations", ("hallucinations", "seeing things", "hearing voices")),
    Finding("sweating", ("sweating", "profuse perspiration", "diaphoresis")),
    Finding("leg redness", ("redness of the leg", "a red and warm shin", "spreading redness over the calf")),
    Finding("leg pain", ("leg pain", "a painful calf", "pain in the shin")),
    Finding("joint pain", ("joint pain", "aching joints", "painful finger joints")),
    Finding("rash", ("rash", "a rash over the cheeks", "skin eruption")),
    Finding("mouth sores", ("mouth sores", "sores in the mouth", "oral ulcers")),
    Finding("hair loss", ("hair loss", "thinning hair", "losing hair")),
    Finding("fever", test="T", unit=" F", normal=(97.2, 99.3), abnormal=(100.9, 103.6), decimals=1),
    Finding("tachycardia", test="HR", normal=(62, 94), abnormal=(108, 138)),
    Finding("low oxygen", test="O2 sat", unit="%", normal=(95, 99), abnormal=(82, 90)),
    Finding("leukocytosis", test="WBC", unit=" K/uL", normal=(4.6, 9.8), abnormal=(13.1, 22.4), decimals=1),
    Finding("high creatinine", test="creatinine", unit=" mg/dL", normal=(0.6, 1.1), abnormal=(2.1, 5.8), decimals=1),
    Finding("high lipase", test="lipase", unit=" U/L", normal=(15, 55), abnormal=(420, 2900)),
    Finding("high glucose", test="glucose", unit=" mg/dL", normal=(78, 136), abnormal=(390, 680)),
)  # fmt: skip

POOLS = {
    "chest": "dyspnea, orthopnea, leg swelling, weight gain, cough, sputum, chest pain, wheezing, hemoptysis, weight loss, "
    "night sweats, chills, low oxygen, fever, leukocytosis",
    "abdomen": "abdominal pain, nausea, vomiting, diarrhea, low urine output, flank pain, thirst, frequent urination, "
    "leg swelling, high creatinine, high lipase, high glucose",
    "nerves": "facial droop, arm weakness, slurred speech, headache, convulsions, loss of consciousness, tongue biting, "
    "tremor, hallucinations, sweating, tachycardia, high glucose",
    "skin": "leg redness, leg swelling, leg pain, chills, joint pain, rash, mouth sores, hair loss, fever, leukocytosis, "
    "high creatinine",
}
"""Findings that a physician asks about in a condition of a body system, whether they are there or not."""

MENTION = {"typical": 0.75, "pool": 0.50, "other": 0.03}  # chance that a note says something about a finding
MEASURED = 0.6  # chance that a measurement is there, whatever the condition
ASSERTION = {
    "typical": (0.80, 0.08, 0.06, 0.06),
    "pool": (0.10, 0.58, 0.16, 0.16),
    "other": (0.12, 0.48, 0.24, 0.16),
}  # of what is mentioned
ABNORMAL = {"typical": 0.80, "pool": 0.10, "other": 0.06}  # of what is measured

CODES = tuple(condition.code for condition in CONDITIONS)
UNSAID = len(ASSERTIONS)  # state of a finding that the note does not mention
NONE = -1  # no second condition
DRAWN_AT_ONCE = 20_000  # cases: 34 MB of probabilities, whatever the size of the corpus

INSURANCE = {False: {"Medicaid": 0.25, "Medicare": 0.05, "Private": 0.70}, True: {"Medicaid": 0.25, "Medicare": 0.65, "Private": 0.10}}  # fmt: skip
"""Chance of each insurance, below OLDER years and from there on."""


def age_band(age: np.ndarray) -> np.ndarray:
    return np.searchsorted(AGE_BANDS, age, side="right")


def condition_prior() -> np.ndarray:
    """P(condition | age band, sex): shape (3, 2 [men, women], conditions)."""
    weights = np.array([
        [[c.share * c.by_age[band] * (c.women if woman else 1) for c in CONDITIONS] for woman in (0, 1)]
        for band in range(3)
    ])  # fmt: skip
    return weights / weights.sum(axis=-1, keepdims=True)


def second_prior_by_first() -> np.ndarray:
    """P(second condition | age band, sex, first condition): shape (3, 2, conditions, conditions); another body system's."""
    systems = np.array([c.system for c in CONDITIONS])
    weights = condition_prior()[:, :, None, :] * (systems[:, None] != systems[None, :])
    return weights / weights.sum(axis=-1, keepdims=True)


def state_probabilities(unsaid_rate: float = 0.0) -> np.ndarray:
    """P(state | condition): shape (conditions, findings, 5); states are ASSERTIONS and UNSAID.

    `unsaid_rate` of what would be mentioned is left out.
    """
    result = np.zeros((len(CONDITIONS), len(FINDINGS), UNSAID + 1))
    for row, condition in enumerate(CONDITIONS):
        typical, pool = condition.typical.split(", "), POOLS[condition.system].split(", ")
        for column, finding in enumerate(FINDINGS):
            role = "typical" if finding.name in typical else "pool" if finding.name in pool else "other"
            if finding.test:
                mention, assertion = MEASURED, (ABNORMAL[role], 1 - ABNORMAL[role], 0, 0)
            else:
                mention, assertion = MENTION[role], ASSERTION[role]
            mention *= 1 - unsaid_rate
            result[row, column] = [*(mention * share for share in assertion), 1 - mention]
    return result


def noise_matrix(rate: float) -> np.ndarray:
    """P(recorded code | condition), shape (conditions, conditions): `rate` of the codes are another one, drawn by its share."""
    shares = np.array([condition.share for condition in CONDITIONS])
    others = np.tile(shares, (len(shares), 1))
    np.fill_diagonal(others, 0)
    return (1 - rate) * np.eye(len(shares)) + rate * others / others.sum(axis=1, keepdims=True)


class People(NamedTuple):
    """Demographics, one entry a person: age in years, whether a woman, insurance by name."""

    age: np.ndarray
    woman: np.ndarray
    insurance: np.ndarray


def draw_people(rng: np.random.Generator, count: int) -> People:
    age = np.clip(rng.normal(62, 18, count), 18, 98).astype(int)
    woman = rng.random(count) < 0.5
    insurance = np.empty(count, dtype=object)
    for older, shares in INSURANCE.items():
        chosen = (age >= OLDER) == older
        insurance[chosen] = rng.choice(list(shares), size=chosen.sum(), p=list(shares.values()))
    return People(age, woman, insurance)


class Cases(NamedTuple):
    """Admissions: true condition, its recorded code and a second condition (indices into CONDITIONS; NONE where there is no
    second one), and a state a finding, shape (cases, findings).
    """

    condition: np.ndarray
    recorded: np.ndarray
    second: np.ndarray
    states: np.ndarray


def draw_cases(
    rng: np.random.Generator,
    people: People,
    *,
    noise_rate: float,
    comorbidity_rate: float,
    poorer_group: str,
    poorer_rate: float,
) -> Cases:
    """One admission of each of `people`, drawn anew: an earlier one of the same person tells nothing about it.

    `comorbidity_rate` of them have a second condition, of another body system. Each condition has its findings; where both
    say something about one, what comes first in ASSERTIONS is stated. The recorded code of the first alone can be wrong.
    """
    condition = _choose(rng, condition_prior()[age_band(people.age), people.woman.astype(int)])
    recorded = _choose(rng, noise_matrix(noise_rate)[condition])
    poorer = people.insurance == poorer_group
    states = _draw_states(rng, condition, poorer, poorer_rate)
    second = np.full(len(condition), NONE)
    if comorbidity_rate:
        second_prior = second_prior_by_first()[age_band(people.age), people.woman.astype(int), condition]
        has_second = rng.random(len(condition)) < comorbidity_rate
        second[has_second] = _choose(rng, second_prior[has_second])
        of_second = _draw_states(rng, second[has_second], poorer[has_second], poorer_rate)
        states[has_second] = np.minimum(states[has_second], of_second)
    return Cases(condition, recorded, second, states)


def _draw_states(rng: np.random.Generator, condition: np.ndarray, poorer: np.ndarray, poorer_rate: float) -> np.ndarray:
    states = np.empty((len(condition), len(FINDINGS)), dtype=np.int8)
    for rows, rate in ((~poorer, 0.0), (poorer, poorer_rate)):
        table = state_probabilities(rate)
        drawn = [np.empty((0, len(FINDINGS)), dtype=np.int8)]
        for start in range(0, rows.sum(), DRAWN_AT_ONCE):
            drawn.append(_choose(rng, table[condition[rows][start : start + DRAWN_AT_ONCE]]).astype(np.int8))
        states[rows] = np.concatenate(drawn)
    return states


def _choose(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """A draw from each distribution along the last axis."""
    edges = probabilities.cumsum(axis=-1)
    return (rng.random((*probabilities.shape[:-1], 1)) * edges[..., -1:] >= edges).sum(axis=-1)


class Posterior(NamedTuple):
    """What is known of an admission's codes, given the text: shapes (cases, conditions)."""

    recorded: np.ndarray  # P(recorded code of the first condition)
    any_of: np.ndarray  # P(code among the admission's codes)


def posterior(
    people: People,
    states: np.ndarray,
    *,
    noise_rate: float,
    comorbidity_rate: float,
    poorer_group: str,
    poorer_rate: float,
) -> Posterior:
    """Of the codes given age band, sex and the states of the findings, by the true model.

    The insurance stands in no text, so both ways of writing notes are weighed by their shares.
    """
    band, woman = age_band(people.age), people.woman.astype(int)
    share = np.array([INSURANCE[older].get(poorer_group, 0.0) for older in (False, True)])[
        (people.age >= OLDER).astype(int)
    ]
    alone = [(first, NONE) for first in range(len(CONDITIONS))]
    both = [(i, j) for i, j in np.ndindex(2 * (len(CONDITIONS),)) if CONDITIONS[i].system != CONDITIONS[j].system]
    pairs = np.array(alone + (both if comorbidity_rate else []))
    with np.errstate(divide="ignore"):
        prior = np.log(condition_prior())[:, :, pairs[:, 0]]
        if comorbidity_rate:
            second = np.log(second_prior_by_first())[:, :, pairs[:, 0], pairs[:, 1]] + np.log(comorbidity_rate)
            prior += np.where(pairs[:, 1] == NONE, np.log(1 - comorbidity_rate), second)
        by_group = [
            np.log(weight)[:, None] + _log_likelihood(states, rate, pairs)
            for weight, rate in ((1 - share, 0.0), (share, poorer_rate))
        ]
        log_joint = prior[band, woman] + np.logaddexp(*by_group)
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    joint /= joint.sum(axis=1, keepdims=True)
    recorded = noise_matrix(noise_rate)[pairs[:, 0]]  # (pairs, conditions)
    among = np.where(pairs[:, 1:] == np.arange(len(CONDITIONS)), 1.0, recorded)
    return Posterior(joint @ recorded, joint @ among)


def _log_likelihood(states: np.ndarray, unsaid_rate: float, pairs: np.ndarray) -> np.ndarray:
    """log P(states | first and second condition), shape (cases, pairs)."""
    single = state_probabilities(unsaid_rate)
    at_least = single[:, :, ::-1].cumsum(axis=-1)[:, :, ::-1]  # P(state >= s): the smaller of two is stated
    of_pair = at_least[pairs[:, 0]] * np.where((pairs[:, 1] == NONE)[:, None, None], 1.0, at_least[pairs[:, 1]])
    stated = np.maximum(-np.diff(of_pair, append=0.0), 0.0)
    table = np.log(np.where((pairs[:, 1] == NONE)[:, None, None], single[pairs[:, 0]], stated))
    total = np.zeros((len(states), len(pairs)))
    for finding in range(len(FINDINGS)):
        total += table[:, finding, :].T[states[:, finding]]
    return total


def best_scores(rng: np.random.Generator, draws: int, **model) -> dict:
    """The best that the text allows, on fresh draws, recorded codes taken for the truth.

    accuracy and macro_f1 are of the MAP rule for the primary code: no rule is more often right. `sensitivity` is its macro
    average, by group. `all_diagnoses` names each code whose probability is at least a half: no rule errs less often by code.
    """
    classes = len(CODES)
    confusion = {True: np.zeros((classes, classes)), False: np.zeros((classes, classes))}
    hits, named, there, wholly_right = np.zeros(classes), np.zeros(classes), np.zeros(classes), 0
    for start in range(0, draws, DRAWN_AT_ONCE):
        people = draw_people(rng, min(DRAWN_AT_ONCE, draws - start))
        cases = draw_cases(rng, people, **model)
        known = posterior(people, cases.states, **model)
        poorer = people.insurance == model["poorer_group"]
        guess = known.recorded.argmax(axis=1)
        for group, counts in confusion.items():
            np.add.at(counts, (cases.recorded[poorer == group], guess[poorer == group]), 1)
        codes = np.arange(classes)
        actual = (cases.recorded[:, None] == codes) | (cases.second[:, None] == codes)
        chosen = known.any_of >= 0.5
        hits, named, there = hits + (actual & chosen).sum(0), named + chosen.sum(0), there + actual.sum(0)
        wholly_right += (actual == chosen).all(axis=1).sum()
    both = confusion[True] + confusion[False]
    poorer, others = (_mean_sensitivity(confusion[group]) for group in (True, False))
    scores = {
        "accuracy": np.diag(both).sum() / both.sum(),
        "macro_f1": _f1(np.diag(both), both.sum(axis=0), both.sum(axis=1)).mean(),
        "sensitivity": {"poorer_group": poorer, "others": others, "gap": others - poorer},
        "draws": draws,
    }
    if model["comorbidity_rate"]:
        scores["all_diagnoses"] = {
            "micro_f1": _f1(hits.sum(), named.sum(), there.sum()),
            "macro_f1": _f1(hits, named, there).mean(),
            "subset_accuracy": wholly_right / draws,
        }
    return scores


def _f1(hits: np.ndarray, named: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return 2 * hits / np.maximum(named + actual, 1)


def _mean_sensitivity(counts: np.ndarray) -> float:
    actual = counts.sum(axis=1)
    return float(np.mean(np.diag(counts)[actual > 0] / actual[actual > 0]))
