"""Time that may be spent on work that can wait."""

from dataclasses import dataclass, field

__all__ = ["Budget"]


@dataclass
class Budget:
    """So many seconds a second, and so many saved up."""

    rate: float
    burst: float
    left: float = field(init=False)
    last: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Start with all of it."""
        self.left = self.burst

    def ready(self, now: float) -> bool:
        """Tell whether anything may be spent now; what is begun may overdraw it."""
        self.left = min(self.burst, self.left + (now - self.last) * self.rate)
        self.last = now
        return self.left > 0

    def spend(self, seconds: float) -> None:
        self.left -= seconds
