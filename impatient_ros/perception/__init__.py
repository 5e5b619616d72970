"""The node's engine: from camera messages to answers at their deadlines.

It needs no ROS: messages are read by their fields; clocks, outputs and the classifier are handed in.

**An image's way.** `worker` receives a message, counts its deadline (`deadlines`) and keeps the newest of
each camera (`latest_frames`). The thread that classifies takes the most urgent frame, makes a
`FrameInProgress` of it with the parameters of that moment, and hands it to the classifier. There the way
turns: the classifier tells the frame in progress what it plans and answers, and that sends an answer
(`sending`) or leaves it to `delivery` to have it sent at the deadline.

**Threads.** There are five, a sixth with `realtime_priority`, and each owns something:

- The *node's* thread (the executor: parameters, services, timers, deadline topics) replaces the parameters as
  a whole, announces deadlines and reads statistics. It decides what the next one does.
- The thread of *long requests* is there while a step of the lifecycle or profiling is under way, one at a
  time. It owns the lifecycle and the pipeline of the cameras, and starts and stops the threads below. Which
  model and pipeline there are, the node's thread reads and never changes.
- The *receiving* thread takes images (`Perception.receive`). It owns the counts of sequence numbers.
- The *classifying* thread takes frames, decodes, runs the network and learns from it (`Perception._work`). It
  holds the classifier's lock for a whole frame, so that profiling anew waits for the frame in progress.
- The *delivering* thread sends at deadlines, and the records of frames that nobody took (`Delivery._work`).
  It owns the deadline of the frame in progress. Once that has ended, what is still executed for it is of no
  use: it is cancelled where another frame waits, or by the receiving thread when one comes.
- The *watchdog* counts what the threads that compute and deliver take of each core, and puts them back to
  ordinary scheduling where that is too much (`RealTime._watch`).

**Shared between them**, each with one lock: the waiting frames (`LatestFrames`), the announcements
(`Deadlines`), the frame in progress with the records that wait (`Delivery`; it is held while an answer is
published), what may be cancelled (`Cancellation`), the counts (`Monitor`, `Faults`), how threads are
scheduled (`RealTime`; nothing is locked under it). Locks are taken in this order only: the classifier's, then
the waiting frames' or the delivery's (never both), then one of the others.

**Replaced as a whole, without a lock**, by the node's thread: the parameters, and how many publishers each
image topic has. Both are read by the other threads and never changed in place. A frame keeps the parameters
of its pick-up, so that nothing changes in the middle of it except its deadline, when one is announced. What
cannot change while the cameras are served is refused from the moment at which a long request begins.

**Errors.** Each thread survives what one frame, message or request makes it raise (`faults`): the frame has
its record, the log one traceback, the diagnostics an error. A thread whose every step fails is given up, and
the process ends with a code that says so.
"""
