"""Where training pictures come from and on what terms, for the model cards."""

SOURCES: dict[str, dict[str, str]] = {
    "lspet": {
        "what": "Leeds Sports Pose Extended: parkour, gymnastics, athletics (Johnson, Everingham, CVPR 2011)",
        "terms": "research data set, asks for citation",
    },
    "lsp": {
        "what": "Leeds Sports Pose, pictures 1 to 1000 (Johnson, Everingham, BMVC 2010)",
        "terms": "research data set, asks for citation",
    },
    "human_dataset_v2": {"what": "Roboflow 'Human Dataset v2': everyday, street, sport, fashion", "terms": "CC BY 4.0"},
    "capston2": {"what": "Roboflow 'Capston2': everyday, indoor, falls", "terms": "CC BY 4.0"},
    "clothing_co_parsing": {"what": "Clothing Co-Parsing: street fashion", "terms": "repository Apache-2.0"},
    "free_exercise_db": {"what": "Free Exercise DB: gym exercises", "terms": "Unlicense"},
}
