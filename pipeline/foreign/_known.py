"""Published files by their digest, and the terms of the datasets they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """What stands in a manifest about a dataset."""

    title: str
    licence: str
    citation: str
    homepage: str


@dataclass(frozen=True, slots=True)
class Published:
    """A published file: its place in the release, and a name for what it holds."""

    place: str
    dataset: str


_UNKNOWN_LICENCE = "not stated by the file; ask its owner"
_CMU = "https://github.com/A2Zadeh/CMU-MultimodalSDK"

# Dataset names begin with these; the longest that fits is taken.
TERMS = {
    "mosi": Terms(
        "CMU-MOSI: opinions in video blogs",
        "research use",
        "Amir Zadeh et al. MOSI: Multimodal Corpus of Sentiment Intensity. 2016.",
        _CMU,
    ),
    "mosei": Terms(
        "CMU-MOSEI: sentiment and emotion in monologues",
        "research use",
        "Amir Zadeh et al. Multimodal Language Analysis in the Wild: CMU-MOSEI. ACL 2018.",
        _CMU,
    ),
    "sims": Terms(
        "CH-SIMS: Chinese sentiment with labels per modality",
        "research use",
        "Wenmeng Yu et al. CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset. ACL 2020.",
        "https://github.com/thuiar/MMSA",
    ),
    "simsv2": Terms(
        "CH-SIMS v2: Chinese sentiment with labels per modality",
        "research use",
        "Yihe Liu et al. Make Acoustic and Visual Cues Matter: CH-SIMS v2.0. ICMI 2022.",
        "https://github.com/thuiar/MMSA",
    ),
    "iemocap": Terms(
        "IEMOCAP: acted emotional dialogues",
        "licence of the owner needed",
        "Carlos Busso et al. IEMOCAP: Interactive emotional dyadic motion capture database. 2008.",
        "https://sail.usc.edu/iemocap",
    ),
    "ur_funny": Terms(
        "UR-FUNNY: humour in talks",
        "not stated",
        "Md Kamrul Hasan et al. UR-FUNNY: A Multimodal Language Dataset. EMNLP 2019.",
        "https://github.com/ROC-HCI/UR-FUNNY",
    ),
    "mustard": Terms(
        "MUStARD: sarcasm in television series",
        "MIT for the annotations; the clips are television material",
        "Santiago Castro et al. Towards Multimodal Sarcasm Detection. ACL 2019.",
        "https://github.com/soujanyaporia/MUStARD",
    ),
}

PUBLISHED = {
    "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524": Published(
        "MOSI/Processed/unaligned_50.pkl", "mosi_unaligned_50"
    ),
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": Published(
        "MOSI/Processed/aligned_50.pkl", "mosi_aligned_50"
    ),
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": Published(
        "MOSEI/Processed/unaligned_50.pkl", "mosei_unaligned_50"
    ),
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": Published(
        "MOSEI/Processed/aligned_50.pkl", "mosei_aligned_50"
    ),
    "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f": Published(
        "SIMS/Processed/unaligned_39.pkl", "sims_unaligned_39"
    ),
}


def terms_of(dataset: str) -> Terms:
    """Return the terms of a dataset by the beginning of its name."""
    fitting = [name for name in TERMS if dataset.startswith(name)]
    if fitting:
        return TERMS[max(fitting, key=len)]
    return Terms(f"{dataset} (imported)", _UNKNOWN_LICENCE, "", "")
