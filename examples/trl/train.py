"""Train a video model on a dataset of videossr with TRL's GRPO trainer.

    python examples/trl/train.py --model_name_or_path demo/tiny --dataset_name demo/dataset --output_dir demo/trl \
        --use_cpu true --bf16 false --max_steps 2 --per_device_train_batch_size 4 --num_generations 4

It takes all arguments of TRL's GRPOConfig and ModelConfig, and `--config FILE.yaml`. docs/how-to/trl.md explains it.
"""

from trl import GRPOConfig, ModelConfig, ScriptArguments, TrlParser, get_peft_config, get_quantization_config

from videossr import VideoSSRDataset
from videossr.trl.dataset import sample_rows
from videossr.trl.rewards import smooth_reward
from videossr.trl.trainer import VideoGRPOTrainer


def main() -> None:
    script, training, model = TrlParser((ScriptArguments, GRPOConfig, ModelConfig)).parse_args_and_config()
    training.model_init_kwargs = {
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        **(training.model_init_kwargs or {}),
    }
    trainer = VideoGRPOTrainer(
        model.model_name_or_path,
        reward_funcs=smooth_reward,
        args=training,
        train_dataset=sample_rows(VideoSSRDataset(script.dataset_name)),
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
