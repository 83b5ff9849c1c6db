"""One run over several processes: who they are, what each computes of a batch, and what they exchange.

    launcher    what torchrun tells each of its place
    meeting     the processes that torchrun started find each other
    ranks       what they send each other
    division    which samples of a batch a process computes, and sums over the whole batch
    samples     what they computed of a batch's samples, put together

Every process holds all weights and takes the same step; docs/scale.md has what it costs.
"""
