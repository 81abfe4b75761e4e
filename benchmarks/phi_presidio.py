"""presidio-analyzer on texts, run by benchmarks/phi.py in presidio's own environment; nothing of this repository is imported.

Standard input: JSON {"texts": [...], "timed": [...], "repeats": n}. Standard output: JSON {"spans": [[[start, end, kind], ...] a text],
"seconds": {"default": [...], "with_us": [...]}}: processor seconds of all timed texts, by set of recognisers. spaCy is blank: no model.
"""

import json
import logging
import sys
import time

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, predefined_recognizers
from presidio_analyzer.nlp_engine import SpacyNlpEngine

US = (
    "UsMbiRecognizer UsNpiRecognizer AbaRoutingRecognizer UsHealthInsuranceMemberIdRecognizer UsPriorAuthorizationNumberRecognizer "
    "UsClaimNumberRecognizer UsPrescriptionNumberRecognizer UsReferralNumberRecognizer UsProviderTaxIdRecognizer"
).split()  # of HIPAA's kinds, off by default


class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}

    def load(self):
        pass


def engine(*, with_us: bool) -> AnalyzerEngine:
    made = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    for name in US if with_us else ():
        made.registry.add_recognizer(getattr(predefined_recognizers, name)())
    return made


def main():
    logging.disable(logging.CRITICAL)
    tldextract.extract = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None
    )  # the list that came with it: no network
    job = json.load(sys.stdin)
    engines = {"default": engine(with_us=False), "with_us": engine(with_us=True)}
    seconds = {name: [] for name in engines}
    for _ in range(job["repeats"]):
        for name, made in engines.items():
            start = time.process_time()
            for text in job["timed"]:
                made.analyze(text, "en")
            seconds[name].append(time.process_time() - start)
    spans = [[[r.start, r.end, r.entity_type] for r in engines["with_us"].analyze(text, "en")] for text in job["texts"]]
    json.dump({"spans": spans, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
