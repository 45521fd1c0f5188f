"""Linear Memory Networks trained by gradient, with the pretraining of the paper. Torch (extra `train`) is needed.

    h_t = tanh(W_xh z_t + W_mh m_{t-1} + b_h)
    m_t = W_hm h_t + W_mm m_{t-1}
    y_t = W_ho h_t + b_o       LMN-A          y_t = W_mo m_t + b_o       LMN-B          (both: the sum)

*Pretraining*: a network that reads its last k hidden states from a window in place of a memory,

    h_t = tanh(W_xh z_t + sum over i = 1..k of W_i h_{t-i} + b_h)
    y_t = V_0 h_t + b_o        LMN-A          y_t = sum over i = 0..k-1 of V_i h_{t-i} + b_o        LMN-B

is trained first. A LAES of its hidden states (`laes.py`) gives W_hm = A and W_mm = B in closed form; what the window's
weights read is then decoded from the memory: with D_i = g^(-2i) A^T (B^T)^i, h_{t-i} is D_i m_t, so that

    W_mh = sum over i = 1..k of W_i D_{i-1},       W_mo = sum over i = 0..k-1 of V_i D_i.

The network that results is trained end to end. Source: Bacciu, Carta, Sperduti, arXiv 1811.03356, sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.contract import Floats, ModelError
from models.harness import Drop, Memory, Sequence, SequenceNetwork
from models.laes import LinearAutoencoder
from models.lmn import LinearMemoryNetwork, spectral_radius

RADIUS_MAX = 0.9995  # of W_mm
ORTHOGONAL_RADIUS = 0.95  # of an orthogonal start: at 1 a memory of inputs with a mean grows with time
WINDOW_SCALE = 0.3  # of what a window network reads of its past at the start: the input comes first
FITTED_ROWS_MAX = 100_000  # hidden states that a LAES is fitted on

ReadOut = Literal["A", "B", "both"]
Start = Literal["random", "orthogonal"]


class _Recurrence(torch.autograd.Function):
    """Hidden states and memories over T ticks: `drive` (T, B, u), `memory` (B, p) before them -> (T, B, u), (T, B, p).

    Written out since most of the time goes here: two products a tick forward, two back, and the gradients of the
    weights from all ticks at once."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, memory: Tensor, W_mh: Tensor, W_hm: Tensor, W_mm: Tensor
    ) -> tuple[Tensor, Tensor]:
        ticks, rows, u = drive.shape
        hidden, memories = drive.new_empty(ticks, rows, u), drive.new_empty(ticks, rows, len(W_mm))
        down, into, before = torch.cat([W_mh, W_mm]).T.contiguous(), W_hm.T.contiguous(), memory
        for t in range(ticks):
            held = before @ down
            torch.tanh(drive[t] + held[:, :u], out=hidden[t])
            torch.addmm(held[:, u:], hidden[t], into, out=memories[t])
            before = memories[t]
        ctx.save_for_backward(memory, W_mh, W_hm, W_mm, hidden, memories)
        return hidden, memories

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        of_hidden, of_memories = gradients
        memory, W_mh, W_hm, W_mm, hidden, memories = ctx.saved_tensors
        ticks, rows, u = hidden.shape
        back, both = torch.cat([W_mh, W_mm]), hidden.new_empty(ticks, rows, u + len(W_mm))
        slope, carried = 1 - hidden**2, torch.zeros_like(memory)
        for t in reversed(range(ticks)):
            inner = torch.add(of_memories[t], carried, out=both[t, :, u:])
            torch.mul(torch.addmm(of_hidden[t], inner, W_hm), slope[t], out=both[t, :, :u])
            carried = both[t] @ back
        flat, before = both.flatten(0, 1), torch.cat([memory[None], memories[:-1]]).flatten(0, 1)
        weights = flat.T @ before
        return both[..., :u], carried, weights[:u], flat[:, u:].T @ hidden.flatten(0, 1), weights[u:]


class _Window(torch.autograd.Function):
    """Hidden states over T ticks of a window of k: `drive` (T, B, u), `past` (k, B, u) the states before them, the
    oldest first, `W` (k, u, u), W[i - 1] for the state of i ticks ago -> (T, B, u). No gradient for `past`."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, past: Tensor, W: Tensor) -> Tensor:
        k, ticks, (rows, u) = len(W), len(drive), drive.shape[1:]
        whole = torch.cat([past, torch.zeros_like(drive)])
        ahead = torch.cat([drive, drive.new_zeros(k, rows, u)])  # what is added up for each tick
        for j in range(k):  # what the states before reach
            for i in range(k - j, k + 1):
                if j + i - k < len(ahead):
                    ahead[j + i - k] += past[j] @ W[i - 1].T
        spread = W.permute(2, 0, 1).reshape(u, k * u).contiguous()
        for t in range(ticks):
            torch.tanh(ahead[t], out=whole[k + t])
            ahead[t + 1 : t + k + 1] += (whole[k + t] @ spread).view(rows, k, u).transpose(0, 1)
        ctx.save_for_backward(W, whole)
        return whole[k:].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        W, whole = ctx.saved_tensors
        k, ticks, (rows, u) = len(W), len(gradients[0]), whole.shape[1:]
        slope, drive = 1 - whole[k:] ** 2, whole.new_zeros(ticks + k, rows, u)
        gather = W.reshape(k * u, u)
        for t in reversed(range(ticks)):
            ahead = drive[t + 1 : t + k + 1].transpose(0, 1).reshape(rows, k * u)
            torch.mul(torch.addmm(gradients[0][t], ahead, gather), slope[t], out=drive[t])
        found = drive[:ticks]
        flat = found.flatten(0, 1).T
        return found, None, torch.stack([flat @ whole[k - i : k - i + ticks].flatten(0, 1) for i in range(1, k + 1)])


class WindowNetwork(SequenceNetwork):
    """The network that is trained first: `inputs` d, `outputs` o, `units` u, a window of `window` k hidden states."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        units: int,
        window: int,
        read_out: ReadOut,
        seed: int = 0,
        start: Start = "random",
    ) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, 1])
        self.read_out, self.window, self.units = read_out, window, units
        reads = 1 if read_out == "A" else window
        self.W_xh = _uniform(rng, (units, inputs), inputs)
        self.b_h = nn.Parameter(torch.zeros(units))
        self.W = _uniform(rng, (window, units, units), units * window)
        with torch.no_grad():
            if start == "orthogonal":
                self.W.copy_(torch.stack([_orthogonal(rng, units) for _ in range(window)]) / window)
            self.W.mul_(WINDOW_SCALE)
        self.V = _uniform(rng, (reads, outputs, units), units * reads)
        self.b_o = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]:
        past = inputs.new_zeros(self.window, len(inputs), self.units) if memory is None else memory[0]
        hidden = self.hidden(inputs, past)
        whole = torch.cat([past, hidden])
        if drop is not None:
            whole = drop.read(whole)
        ticks, k = len(hidden), self.window
        output = self.b_o + sum(whole[k - i : k - i + ticks] @ self.V[i].T for i in range(len(self.V)))
        return output.transpose(0, 1), (torch.cat([past, hidden])[-k:],)

    def of_memory(self) -> list[Tensor]:
        return [self.W]

    def hidden(self, inputs: Tensor, past: Tensor) -> Tensor:
        """(B, T, d) -> hidden states (T, B, u)."""
        drive = (inputs @ self.W_xh.T + self.b_h).transpose(0, 1).contiguous()
        return torch.as_tensor(_Window.apply(drive, past, self.W))


class GradientNetwork(SequenceNetwork):
    """An LMN of `inputs` d, `outputs` o, `units` u and a memory of `memory_size` p, from a `start` without pretraining;
    `pretrained` sets it by the window network. Its memory is kept within a spectral radius of RADIUS_MAX."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        units: int,
        memory_size: int,
        read_out: ReadOut = "B",
        start: Start = "random",
        seed: int = 0,
    ) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, 0])
        u, p = units, memory_size
        self.read_out = read_out
        self.W_xh = _uniform(rng, (u, inputs), inputs)
        self.b_h = nn.Parameter(torch.zeros(u))
        self.W_mh, self.W_hm = _uniform(rng, (u, p), p), _uniform(rng, (p, u), u)
        self.W_mm = _uniform(rng, (p, p), p) if start == "random" else _orthogonal(rng, p)
        self.W_ho = None if read_out == "B" else _uniform(rng, (outputs, u), u)
        self.W_mo = None if read_out == "A" else _uniform(rng, (outputs, p), p)
        self.b_o = nn.Parameter(torch.zeros(outputs))
        self.settle()

    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]:
        before = inputs.new_zeros(len(inputs), len(self.W_mm)) if memory is None else memory[0]
        drive = (inputs @ self.W_xh.T + self.b_h).transpose(0, 1).contiguous()
        W_mh = self.W_mh if drop is None else drop.weights(self.W_mh)
        hidden, memories = _Recurrence.apply(drive, before, W_mh, self.W_hm, self.W_mm)
        read: list[Tensor] = []
        weights: list[Tensor] = []
        for values, weight in ((memories, self.W_mo), (hidden, self.W_ho)):
            if weight is not None:
                read.append(values)
                weights.append(weight)
        joined = torch.cat(read, -1)
        if drop is not None:
            joined = drop.read(joined)
        return (joined @ torch.cat(weights, 1).T + self.b_o).transpose(0, 1), (memories[-1],)

    def of_memory(self) -> list[Tensor]:
        return [self.W_mh, self.W_hm, self.W_mm]

    def settle(self) -> None:
        """Scale W_mm back where its memory would grow without end."""
        with torch.no_grad():
            weights = self.W_mm.detach().numpy()
            if np.isfinite(weights).all() and (radius := spectral_radius(weights)) > RADIUS_MAX:
                self.W_mm.mul_(RADIUS_MAX / radius)

    def exported(self) -> LinearMemoryNetwork:
        """The same network for numpy, float32. What reads from the hidden states gets them in its memory: with
        m'_t = (m_t, h_t), y_t = (W_mo, W_ho) m'_t + b_o."""
        w = {name: values.detach().numpy().copy() for name, values in self.named_parameters()}
        u, p = w["W_mh"].shape
        if self.W_ho is not None:
            out = w.get("W_mo", np.zeros((len(w["b_o"]), p), np.float32))
            w["W_mo"] = np.concatenate([out, w.pop("W_ho")], 1)
            w["W_hm"] = np.concatenate([w["W_hm"], np.eye(u, dtype=np.float32)])
            w["W_mm"] = np.pad(w["W_mm"], ((0, u), (0, u)))
            w["W_mh"] = np.pad(w["W_mh"], ((0, 0), (0, u)))
        return LinearMemoryNetwork(**{name: np.ascontiguousarray(v) for name, v in w.items()}, tanh=np.ones(u, bool))


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What came of the closed-form step: the share of the hidden states' squares that the memory does not give back
    over the window."""

    lost: float


def pretrained(
    first: WindowNetwork, sequences: list[Sequence], memory_size: int, window: int | None = None, discount: float = 1.0
) -> tuple[GradientNetwork, Pretraining]:
    """The LMN of a window network that has been trained: its weights, and a memory of `memory_size` that a LAES of
    `window` ticks (None: the network's own) finds in its hidden states on `sequences`."""
    k = window or first.window
    if k < first.window:
        raise ModelError(f"a memory of {k} ticks cannot stand for a window of {first.window}")
    hidden = hidden_states(first, sequences)
    laes = LinearAutoencoder(memory_size, k, discount).fit(hidden)
    p = len(laes.B_)
    decoders = laes.decode(np.eye(p), first.window).transpose(0, 2, 1)  # (k, u, p): h_{t-i} = D_i m_t
    network = GradientNetwork(first.W_xh.shape[1], len(first.b_o), first.units, p, first.read_out)
    window_weights, out = (w.detach().double().numpy() for w in (first.W, first.V))
    new = {
        "W_xh": first.W_xh,
        "b_h": first.b_h,
        "b_o": first.b_o,
        "W_hm": laes.A_,
        "W_mm": laes.B_,
        "W_mh": np.einsum("iab,ibp->ap", window_weights, decoders),
    }
    if network.W_ho is not None:
        new["W_ho"] = out[0]
    if network.W_mo is not None:
        first_read = 1 if network.W_ho is not None else 0
        new["W_mo"] = np.einsum("iab,ibp->ap", out[first_read:], decoders[first_read : len(out)])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.as_tensor(new[name]))
    network.settle()
    return network, Pretraining(_lost(laes, hidden, first.window))


def hidden_states(first: WindowNetwork, sequences: list[Sequence]) -> list[Floats]:
    """Of each sequence (T, u), float64, until there are FITTED_ROWS_MAX."""
    found, rows = [], 0
    with torch.no_grad():
        for sequence in sequences:
            past = torch.zeros(first.window, 1, first.units)
            hidden = first.hidden(torch.as_tensor(sequence.inputs)[None], past)
            found.append(hidden[:, 0].double().numpy())
            rows += len(hidden)
            if rows >= FITTED_ROWS_MAX:
                break
    return found


def _lost(laes: LinearAutoencoder, hidden: list[Floats], window: int) -> float:
    """Share of the squares of the last `window` hidden states that decoding them from the memory loses."""
    missed = whole = 0.0
    for h in hidden[:50]:
        past = laes.decode(laes.encode(h), window)  # (k, T, u)
        for i in range(min(window, len(h))):
            missed += float(((past[i][i:] - h[: len(h) - i]) ** 2).sum())
            whole += float((h[: len(h) - i] ** 2).sum())
    return missed / max(whole, 1e-300)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    values = rng.uniform(-1, 1, shape) / np.sqrt(fan_in)
    return nn.Parameter(torch.tensor(values, dtype=torch.float32))


def _orthogonal(rng: np.random.Generator, size: int) -> nn.Parameter:
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return nn.Parameter(torch.tensor(ORTHOGONAL_RADIUS * q * np.sign(np.diag(r)), dtype=torch.float32))
