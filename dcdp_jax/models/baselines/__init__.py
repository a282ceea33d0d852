"""The networks that the main model is compared with, one module each. Every one is a `baseline.Baseline`."""

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.cnn import CNN
from dcdp_jax.models.baselines.cnn_gru import CNNGRU
from dcdp_jax.models.baselines.danhar import DanHAR
from dcdp_jax.models.baselines.deepconvlstm import DeepConvLSTM
from dcdp_jax.models.baselines.elk import ELK
from dcdp_jax.models.baselines.inception_time import InceptionTime
from dcdp_jax.models.baselines.lstm import StackedLSTM
from dcdp_jax.models.baselines.lstm_cnn import LSTMCNN
from dcdp_jax.models.baselines.tinyhar import TinyHAR
from dcdp_jax.models.baselines.transformer import Transformer

BASELINES: dict[str, type[Baseline]] = {
    "cnn": CNN,
    "lstm": StackedLSTM,
    "lstm_cnn": LSTMCNN,
    "cnn_gru": CNNGRU,
    "elk": ELK,
    "danhar": DanHAR,
    "deepconvlstm": DeepConvLSTM,
    "inception_time": InceptionTime,
    "tinyhar": TinyHAR,
    "transformer": Transformer,
}
