"""Every field and its default: DCDP-HAR as SPEC section 4 settles it. Data set configs change what differs."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # of the initial parameters, the order of the windows, augmentation and dropout

    config.data = ConfigDict()
    config.data.name = ""  # uci_har, hapt, wisdm, pamap2, oppo, dsads, table or synthetic
    config.data.raw_dir = ""  # the publisher's files; else the variable DCDP_RAW_DIR, else they are downloaded
    config.data.cache_dir = ""  # downloads and prepared data; else the user's cache folder
    config.data.require_complete = False  # True: files that the publisher has and you have not are an error
    config.data.protocol = ""  # who trains, validates and tests: see dcdp_jax/data/protocols.py
    config.data.fold = 0  # loso: which subject tests; random: which draw
    config.data.classes = ()  # names to keep; (): the protocol's own
    config.data.channels = ()  # names or groups to keep; (): all
    config.data.decimate = 1  # every n-th sample
    config.data.view = "raw"  # or derived, mirror, axis: see dcdp_jax/data/views.py
    config.data.window = 128  # samples
    config.data.step = 64  # the same for training and testing
    config.data.label_rule = "mode"  # or last, drop_mixed, majority: see dcdp_jax/data/windows.py
    config.data.join_recordings = False  # windows run from one recording into the next, see configs/oppo_challenge.py
    config.data.normalize = "zscore"  # or minmax, none
    # Recordings stay on the host, and the windows of a batch are sent to the devices ahead of its step: for recordings
    # that do not fit into a device's memory. The same numbers.
    config.data.stream = False
    config.data.synthetic = ConfigDict()  # read by data.name=synthetic only
    config.data.synthetic.seed = 0
    config.data.synthetic.subjects = 10  # people
    config.data.synthetic.minutes = 6.0  # per subject
    config.data.synthetic.rate = 25.0  # Hz
    config.data.synthetic.noise = 0.25  # deviation of what is added to the signals
    config.data.synthetic.weak_group = "gyro"  # channel group that says less about the activity
    config.data.synthetic.weakness = 0.6  # 0: as strong as the other; 1: noise only

    config.data.table = ConfigDict()  # read by data.name=table only: docs/your_own_data.md
    config.data.table.files = ("*.csv",)  # in data.raw_dir
    config.data.table.delimiter = ","  # between the columns of a CSV file
    config.data.table.time = "time"  # column; "": rows are 1 / rate apart
    config.data.table.time_unit = "s"  # or ms, us, ns, datetime
    config.data.table.label = "label"  # column; "": none
    config.data.table.subject = "subject"  # column; "": the file's name
    config.data.table.recording = ""  # column; "": a file is a recording
    config.data.table.channels = ()  # (column, group, site, unit) of each
    config.data.table.rate = 50.0  # Hz, to which rows are resampled
    config.data.table.resample = "linear"  # or nearest
    config.data.table.max_gap = 1.0  # seconds between rows; more divides the recording
    config.data.table.missing = "interpolate"  # or split, error
    config.data.table.test = ()  # subjects, or recordings, by name; (): the last fifth
    config.data.table.validation = ()  # likewise; (): the fifth before

    config.model = ConfigDict()
    # Or a baseline on all channels: cnn, lstm, lstm_cnn, cnn_gru, elk, danhar, deepconvlstm, random_forest. It has no
    # branches: cgm.enabled must be False, and of the fields below it reads width alone.
    config.model.name = "dcdp_har"
    # (name, backbone, channels or channel groups); any number, disjoint, covering all channels together.
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    config.model.partition = "named"  # controls: swap, random, single
    config.model.width = 64  # channels of the first ResNet stage and of DenseNet's stem; growth is half of it
    config.model.densenet_width = 0  # 0: as width; a control gives DenseNet its own
    config.model.resnet_blocks = (3, 4, 6, 3)  # basic blocks per stage
    config.model.densenet_blocks = (4, 4, 6, 4)  # layers per dense block
    config.model.embedding = 256  # d, the common width of the branches' embeddings h
    config.model.projection_hidden = 256  # hidden width of the projection heads
    config.model.projection = 128  # width of the projections z
    config.model.fusion_hidden = 256  # hidden width of the fusion classifier
    config.model.dropout = 0.5  # rate in the fusion classifier

    config.loss = ConfigDict()
    config.loss.align_weight = 0.7  # lambda
    config.loss.temperature = 0.5  # tau
    config.loss.label_smoothing = 0.0  # of every cross-entropy; 0: none

    config.cgm = ConfigDict()
    config.cgm.enabled = True  # whether branches are modulated
    config.cgm.alpha = 0.9  # how strongly: M = 1 - tanh(alpha (R - 1)) for R > 1
    config.cgm.eps = 1e-8  # keeps R finite where the other branches have no confidence
    config.cgm.scope = "branch"  # or classification (the paper's formula to the letter), head
    config.cgm.placement = "before"  # or after, decoupled: see dcdp_jax/optim/chain.py
    config.cgm.start_epoch = 0  # epochs before the first one modulated
    config.cgm.end_epoch = 0  # the last one modulated; 0: the last of all

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"  # or adam, sgd
    config.optimizer.learning_rate = 1e-3  # after the warm-up
    config.optimizer.schedule = "cosine"  # or constant
    config.optimizer.warmup_fraction = 0.05  # of all steps
    config.optimizer.b1 = 0.9  # beta of the paper's momentum
    config.optimizer.b2 = 0.999  # decay of the second moment
    config.optimizer.eps = 1e-8  # of Adam
    config.optimizer.weight_decay = 0.01  # read by adamw only
    config.optimizer.clip_norm = 0.0  # 0: off

    config.train = ConfigDict()
    config.train.epochs = 100  # of the whole training part
    config.train.batch_size = 128  # over all devices
    config.train.log_every = 10  # steps
    config.train.steps_per_dispatch = 0  # in one program; 0: 1 on CPU, 32 elsewhere
    # Or tf32 (float32 with products of 10-bit mantissas, on GPUs that have it), bfloat16. Parameters, statistics,
    # softmax and losses are float32 in each.
    config.train.precision = "float32"
    # A step whose loss or gradient is NaN or infinite stops the run; or up to so many are left out.
    config.train.skip_nonfinite = 0

    config.augment = ConfigDict()
    config.augment.enabled = False  # training windows only; see dcdp_jax/train/augment.py for the order
    config.augment.probability = 0.5  # of each of the five, for every window
    config.augment.jitter_sigma = 0.05  # of the normalised signals; 0: off
    config.augment.scaling_sigma = 0.1  # of the factors around 1, one per channel; 0: off
    config.augment.rotation = True  # 3-axis sensors, one matrix per device
    config.augment.time_warp_sigma = 0.2  # of the speed around 1; 0: off
    config.augment.time_warp_knots = 4  # of the curve of speeds
    config.augment.permutation_segments = 4  # 1: off

    config.parallel = ConfigDict()
    config.parallel.strategy = "pmap"  # or jit (of shard_map, over a mesh): the same numbers
    config.parallel.devices = 0  # of each process; 0: all
    # Several processes, one per host or per device, train together: docs/scaling.md. Each is started with the same
    # command; Slurm, Open MPI and Kubernetes tell JAX the rest, elsewhere the three fields below do.
    config.parallel.distributed = False
    config.parallel.coordinator = ""  # HOST:PORT of process 0
    config.parallel.processes = 0  # how many there are
    config.parallel.process_id = 0  # the only field that differs between the processes
    return config
