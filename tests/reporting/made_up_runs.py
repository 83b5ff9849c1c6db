"""Made-up runs and printed values: no number here is anybody's result."""

import io

import pandas as pd

from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.study import Study

PRINTED = """\
table,dataset,method,training,reference,doi_or_arxiv,structure,T,accuracy_percent,sd_percent,firing_rate,energy_ratio,quoted_from,checked
1,mnist,a rule,BP,Doe 2018,10.1/doe,,,87.0,,,,"Shen et al. 2022, Table 1",yes
1,mnist,BPSA+BPTA,BP,Shen et al. 2022,10.1016/x,9C3,4,99.6,,,,"Shen et al. 2022, Table 1",yes
1,mnist,BPSA+BPTA,BP,Shen et al. 2022,10.1016/x,9C3,8,99.0,,,,"Shen et al. 2022, Table 1",yes
1,mnist,some rule,,Roe 2019,10.1/roe,3FC,5,88.50,0.02,,,page of Roe,yes
1,cifar10,BPSA+BPTA,BP,Shen et al. 2022,10.1016/x,middle,8,80.5,,,,"Shen et al. 2022, Table 1",yes
1,cifar10,BPSA+BPTA,BP,Shen et al. 2022,10.1016/x,resnet34,8,90.5,,,,"Shen et al. 2022, Table 1",yes
4,mnist,baseline (STBP),,Shen et al. 2022,10.1016/x,9C3,8,91.0,,,,"Shen et al. 2022, Table 4",yes
4,mnist,BPSA+BPTA,,Shen et al. 2022,10.1016/x,9C3,8,93.5,,,,"Shen et al. 2022, Table 4",yes
5,mnist,baseline (STBP),,Shen et al. 2022,10.1016/x,,16,91.0,,0.25,11.5,"Shen et al. 2022, Table 5",yes
5,n-mnist,BPSA+BPTA,,Shen et al. 2022,10.1016/x,,16,97.0,,0.125,23.1,"Shen et al. 2022, Table 5",yes
6,mnist,baseline (STBP),,Shen et al. 2022,10.1016/x,,32,91.5,,,,"Shen et al. 2022, Table 6",yes
"""


def printed(text=PRINTED):
    """Rows of literature.csv."""
    return literature.prepared(pd.read_csv(io.StringIO(text), dtype=str))


def a_run(method, seed, accuracy, *, dataset="mnist", T=8, recipe=None, rate=0.2, counted=None, **more):
    """A run: two epochs as the twin and two with spikes; `counted` is its energy's ratio, none: not measured."""
    recipe = recipe or dataset
    train = {"dataset": dataset, "method": method, "network": "4C3-10Voting", "T": T, "seed": seed, "epochs": 4}
    train |= {"accuracy": accuracy, "firing_rate": rate, "selection": "final", "split": "official"}
    train |= {name: more[name] for name in ("network", "epochs", "selection", "split") if name in more}
    history = pd.DataFrame({"epoch": range(4), "phase": ["twin", "twin", "spiking", "spiking"]})
    history["accuracy"], history["train_accuracy"] = [0.5, 0.6, 0.7, accuracy], [0.1, 0.2, 0.3, 0.4]
    energy = {}
    if counted is not None:
        energy = {"paper": {"ratio": 46 / (T * rate)}, "counted": {"ratio": counted}}
        energy |= {"memory": {"ratio": counted / 2}, "quantised": {"memory": {"ratio": counted / 4}}}
        energy["firing_rates"] = {"lif1": rate, "lif2": 2 * rate}
    recorded = {"settings": {"data": {"train_samples": more.get("train_samples")}}}
    return RunResults(f"{recipe}-{method}-T{T}-s{seed}", train, history, energy, {}, recipe, recorded)


def study(runs, *, stand_ins=None, missing=(), asked=None, text=PRINTED):
    """What the tables are made from."""
    return Study(list(runs), stand_ins or {}, list(missing), asked or {}, printed(text))


def two_rules(**more):
    """stbp at 90 and 94 %, bpsta at 95 % twice."""
    return [
        a_run("stbp", 0, 0.90, rate=0.2, **more),
        a_run("stbp", 1, 0.94, rate=0.3, **more),
        a_run("bpsta", 0, 0.95, rate=0.1, **more),
        a_run("bpsta", 1, 0.95, rate=0.1, **more),
    ]
