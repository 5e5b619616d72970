"""What the node can be told: every parameter with its one default, meaning, unit and limits.

The dataclasses are the definition and immutable. `parameter_values` reads them from values by name,
`ros/parameters.py` declares from them, `config/perception.yaml` repeats the defaults for people (a test
compares), and the rest of the node reads the dataclasses.
"""

from dataclasses import dataclass

from impatient_ros.anytime import FrameSettings
from impatient_ros.images.preprocessing import FITS
from impatient_ros.perception.deadlines import BUDGET_SOURCES
from impatient_ros.perception.parameter_definition import defined
from impatient_ros.perception.thread_priority import HIGHEST_PRIORITY
from impatient_ros.planning.options import MODES
from impatient_ros.runtime import DEVICES, PRECISIONS, RUNTIMES

__all__ = ['TRANSPORTS', 'BudgetParameters', 'CameraParameters', 'PerceptionParameters']

TRANSPORTS = ('raw', 'compressed')


@dataclass(frozen=True)
class BudgetParameters:
    """Where a frame's deadline comes from and how much of the time to it is kept back; seconds."""

    source: str = defined(
        'text',
        'fixed',
        'What sets the deadline of a frame: fixed (budget.fixed after its stamp), control_loop (the last '
        'tick of the control loop at which it is at most budget.max_age old) or topic (~/deadline, '
        '~/<camera>/deadline)',
        choices=tuple(BUDGET_SOURCES),
    )
    fixed: float = defined(
        'number', 0.1, 'Seconds from header.stamp to the deadline, with source fixed', low=0.0, high=3600.0
    )
    control_period: float = defined(
        'number', 0.1, 'Seconds between two ticks of the control loop', low=0.001, high=3600.0
    )
    control_phase: float = defined(
        'number', 0.0, 'Seconds: the loop ticks at control_phase + k * control_period of the ROS clock'
    )
    max_age: float = defined(
        'number',
        0.0,
        'Seconds: how old a frame may be at the tick that uses it; 0: as much as one control_period',
        low=0.0,
        high=3600.0,
    )
    stale_after: float = defined(
        'number',
        1.0,
        'Seconds: an older stamp is an input fault, the time of arrival stands in for it',
        low=0.001,
        high=3600.0,
    )
    reserve: float = defined(
        'number',
        0.002,
        'Seconds kept for waking up and publishing, at least; more is learned from measurement',
        low=0.0,
        high=10.0,
    )
    miss_rate: float = defined(
        'number',
        0.01,
        'Long-run share of protected answers that may come later than planned; where none can be protected, '
        'how much less likely than the likeliest path the first one may be',
        low=1e-5,
        high=0.5,
    )

    @property
    def age_limit(self) -> float:
        """`max_age` with its default resolved, in seconds."""
        return self.max_age or self.control_period


@dataclass(frozen=True)
class CameraParameters:
    """One camera; `budget` is complete: the node's with this camera's own values on top."""

    name: str
    topic: str = defined(
        'text', '', 'Topic of the images, taken literally', expected='the name of a topic', locked='active'
    )
    transport: str = defined(
        'text',
        'raw',
        'Type of the images: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage)',
        choices=TRANSPORTS,
        locked='active',
    )
    roi: tuple[int, ...] = defined(
        'integers',
        (),
        'Region of interest in pixels of the image: x, y, width, height; empty: the whole frame',
        expected='[] for the whole frame or [x, y, width, height] in pixels, width and height at least 1',
    )
    budget: BudgetParameters = BudgetParameters()

    def __post_init__(self) -> None:
        if not self.topic:
            object.__setattr__(self, 'topic', f'/{self.name}/image_raw')


@dataclass(frozen=True)
class PerceptionParameters:
    """All parameters of the node; `budget` is what a camera's starts from."""

    autostart: bool = defined(
        'bool',
        True,
        'Whether the node configures and activates itself; false where a lifecycle manager or a launch file '
        'does it',
        read_only=True,
    )
    model: str = defined(
        'text',
        '',
        'Path of the checkpoint (.safetensors); empty: the model that is shipped',
        locked='configured',
    )
    device: str = defined(
        'text',
        'auto',
        'Where the network runs: auto (a CUDA GPU where there is one), cpu, igpu (an integrated GPU of '
        "Intel's), cuda or cuda:<index>",
        pattern=DEVICES,
        expected='auto, cpu, igpu, cuda or cuda:<index>',
        locked='configured',
    )
    runtime: str = defined(
        'text',
        'auto',
        'What executes the network; auto: the fastest that is available',
        choices=RUNTIMES,
        locked='configured',
    )
    precision: str = defined(
        'text',
        'auto',
        'In what the network is computed: f32, bf16, f16 or int8, where the runtime computes it natively on '
        'this machine; auto: the fastest such that keeps the accuracy, as the checkpoint says, else f32',
        choices=PRECISIONS,
        locked='configured',
    )
    cpu_threads: int = defined(
        'integer',
        0,
        'Threads that compute the network on a CPU; 0: one or as many as the node may use, measured',
        low=0,
        high=1024,
        locked='configured',
    )
    cpu_affinity: tuple[int, ...] = defined(
        'integers',
        (),
        'Cores, counted from 0, on which the threads run that compute and deliver answers; empty: all that '
        'the node may use',
        expected='[] for all or a list of cores that this process may use, such as [2, 3]',
        locked='configured',
    )
    memory_limit: float = defined(
        'number',
        0.0,
        'MiB that the compiled network may take; resolutions that do not fit are left out; 0: no limit',
        low=0.0,
        high=1e6,
        locked='configured',
    )
    labels: tuple[str, ...] = defined(
        'texts',
        (),
        'The only classes that compete, by their labels in the model; scores are shares among them. '
        "Empty: all of the model's",
        expected="[] for all or a list of labels that the model has, such as ['cup', 'banana']",
        locked='configured',
    )
    fit: str = defined(
        'text',
        '',
        'How a picture becomes square: crop (its middle; hides the sides of a wide picture) or squash '
        '(all of it; proportions are not kept). Empty: as the model says',
        choices=('', *FITS),
        expected="'' (as the model says), crop or squash",
        locked='configured',
    )
    mode: str = defined(
        'text',
        'adaptive',
        'How the time is used: contract (one path, planned ahead), interruptible (from the cheapest path on '
        'to dearer ones) or adaptive (aims at one path, insured by a cheaper one where that pays)',
        choices=MODES,
    )
    camera_names: tuple[str, ...] = defined(
        'texts', ('camera',), 'Names of the cameras; each has parameters cameras.<name>.*', locked='active'
    )
    confidence_threshold: float = defined(
        'number', 0.0, 'Calibrated confidence that is sure enough to stop early; 0: never', low=0.0, high=1.0
    )
    unknown_below: float = defined(
        'number',
        0.0,
        'An answer is published as unknown where its best class has a lower calibrated probability, counted '
        "among all of the model's classes; 0: never",
        low=0.0,
        high=1.0,
    )
    publish_mode: str = defined(
        'text',
        'final',
        'final: one answer per frame; every: each better answer as soon as it is ready',
        choices=('final', 'every'),
    )
    on_miss: str = defined(
        'text',
        'silent',
        'With no answer by the deadline: silent (publish none), late (publish it when it is ready) or empty '
        '(publish a classification without results)',
        choices=('silent', 'late', 'empty'),
    )
    realtime_priority: int = defined(
        'integer',
        0,
        'Real-time priority (SCHED_FIFO) of the threads that compute answers, where the system permits it; '
        'the one that publishes at deadlines and a watchdog get one more; 0: ordinary scheduling',
        low=0,
        high=HIGHEST_PRIORITY,
        locked='active',
    )
    realtime_limit: float = defined(
        'number',
        0.9,
        'Share of a core that these threads may take over one second; beyond it the watchdog gives real-time '
        'scheduling up, since nothing else could run there; 1: never',
        low=0.0,
        high=1.0,
        locked='active',
    )
    switch_interval: float = defined(
        'number',
        0.0,
        'Seconds that a Python thread may hold the interpreter while another one waits for it; shorter: '
        'answers leave more punctually beside heavy callbacks; 0: the default of Python, 0.005',
        low=0.0,
        high=1.0,
        locked='active',
    )
    top_k: int = defined('integer', 5, 'How many classes an answer lists, best first', low=1, high=65535)
    budget: BudgetParameters = BudgetParameters()
    cameras: tuple[CameraParameters, ...] = (CameraParameters('camera'),)

    def camera(self, name: str) -> CameraParameters:
        """The camera of that name; raises `KeyError`."""
        return {camera.name: camera for camera in self.cameras}[name]

    def frame_settings(self, camera: CameraParameters) -> FrameSettings:
        """How the classifier is to treat a frame of that camera."""
        return FrameSettings(
            mode=self.mode,
            miss_rate=camera.budget.miss_rate,
            confidence_threshold=self.confidence_threshold,
            finish_late=self.on_miss == 'late',
            unknown_below=self.unknown_below,
        )
