"""nlpaug on texts, run by benchmarks/augment.py in nlpaug's own environment; nothing of this repository is imported.

Standard input: JSON {"texts": [...], "rate": share of words, "nltk_data": folder with corpora/wordnet}. Standard output: JSON, processor
seconds of all texts by operator. nltk's tagger needs a download: every word is taken for a noun, which spares nlpaug the tagging and
three quarters of the look-ups.
"""

import json
import random
import sys
import time

import nlpaug.augmenter.word as naw
import nltk
from nlpaug.model.word_dict import WordNet


def main():
    job = json.load(sys.stdin)
    nltk.data.path.insert(0, job["nltk_data"])
    WordNet.pos_tag = classmethod(lambda cls, tokens: [(token, "NN") for token in tokens])
    settings = {"aug_p": job["rate"], "aug_min": 1, "aug_max": None}
    augmenters = {
        "swap": naw.RandomWordAug(action="swap", **settings),
        "delete": naw.RandomWordAug(action="delete", **settings),
        "wordnet": naw.SynonymAug(aug_src="wordnet", **settings),
    }
    augmenters["wordnet"].augment("A first call reads the data")
    seconds = {}
    for name, augmenter in augmenters.items():
        random.seed(7)
        start = time.process_time()
        for text in job["texts"]:
            augmenter.augment(text)
        seconds[name] = time.process_time() - start
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
