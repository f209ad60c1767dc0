# ruff: noqa: E501
"""The parameters of every kind of job; generated from the server's registry by `python -m scripts.client`."""

from .declarations import Kind, Parameter

PARAMS = (
    Parameter(
        "prompt",
        "str",
        "At most 10000 characters; an empty prompt draws without words. May contain `<lora:name:weight>` and weights like `(word:1.2)`.",
    ),
    Parameter("negative_prompt", "str", "What the image must not contain. Left out: the model's default."),
    Parameter("model", "str", "A name or alias from `GET /v1/models`. Left out: the default model."),
    Parameter("sampler", "str", "A name from `GET /v1/samplers`. Left out: the model's default."),
    Parameter(
        "num_inference_steps", "int", "From 1 to the model's `max_steps`. At least 1. Left out: the model's default."
    ),
    Parameter(
        "guidance_scale",
        "float",
        "Classifier-free guidance; 1 or less disables it. From 0 to 50. Left out: the model's default.",
    ),
    Parameter("seed", "int", "-1 draws a random seed. From -1 to 9007199254740991. Left out: a random seed."),
    Parameter(
        "variation",
        "object",
        "A second seed, towards which the initial noise is changed. Left out: none.",
        fields=(
            Parameter("seed", "int", "-1 draws a random seed. From -1 to 9007199254740991. Left out: a random seed."),
            Parameter(
                "strength",
                "float",
                "0 gives the image of the job's own seed, 1 that of this seed. From 0 to 1. Left out: `0.1`.",
            ),
        ),
    ),
    Parameter(
        "best_of",
        "int",
        "Draw so many candidates, with the seeds from `seed` on, and keep those that fit the prompt best. From 1 to 16. Left out: 1.",
    ),
    Parameter(
        "keep",
        "int",
        "How many of the candidates are kept, the best first; at most `best_of`. From 1 to 16. Left out: 1.",
    ),
    Parameter(
        "min_score",
        "float",
        "Keep no image that fits the prompt worse than this; the job fails if none is left. From -1 to 1. Left out: all scores are good enough.",
    ),
    Parameter(
        "width",
        "int",
        "In pixels, a multiple of 8 within the model's limits. At least 8. Left out: the model's default.",
    ),
    Parameter(
        "height",
        "int",
        "In pixels, a multiple of 8 within the model's limits. At least 8. Left out: the model's default.",
    ),
    Parameter(
        "aspect_ratio",
        "str",
        "Instead of width and height, at the area of the model's default size. One of `1:1`, `2:3`, `3:2`, `3:4`, `4:3`, `4:5`, `5:4`, `4:7`, `7:4`, `9:16`, `16:9`, `9:21`, `21:9`, `square`, `portrait`, `landscape`. Left out: the model's default size.",
        choices=(
            "1:1",
            "2:3",
            "3:2",
            "3:4",
            "4:3",
            "4:5",
            "5:4",
            "4:7",
            "7:4",
            "9:16",
            "16:9",
            "9:21",
            "21:9",
            "square",
            "portrait",
            "landscape",
        ),
    ),
    Parameter("style_preset", "str", "A name from `GET /v1/styles`. Left out: no style."),
    Parameter(
        "clip_skip",
        "int",
        "A1111's count: 2 skips the last layer of the text encoder. From 1 to 12. Left out: 1, which skips none.",
    ),
    Parameter(
        "loras",
        "object",
        "At most 8, including those in the prompt.",
        is_list=True,
        fields=(
            Parameter("name", "str", "A name or alias from `GET /v1/loras`."),
            Parameter("weight", "float", "How strong it is. From -10 to 10. Left out: `1.0`."),
            Parameter(
                "text_encoder_weight",
                "float",
                "How strong it is in the text encoders. From -10 to 10. Left out: `weight`.",
            ),
        ),
    ),
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter(
        "strength",
        "float",
        "The share of the noise schedule that is run, at least one step; 1 ignores the image. From 0 to 1. Left out: 0.75 for img2img, 1 for inpaint.",
    ),
    Parameter(
        "resize_mode",
        "str",
        "How the image is brought to `width` x `height`. One of `stretch`, `crop`, `fill`. Left out: `crop`.",
        choices=("stretch", "crop", "fill"),
    ),
    Parameter(
        "mask",
        "object",
        "The part of the image that is generated anew.",
        fields=(
            Parameter(
                "image",
                "image",
                "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated. The light part of the mask is generated anew.",
            ),
            Parameter(
                "blur_px",
                "int",
                "Standard deviation of the Gaussian blur of the mask, in pixels. From 0 to 256. Left out: `4`.",
            ),
            Parameter(
                "fill",
                "str",
                "What the masked area starts from. One of `fill`, `original`, `latent_noise`, `latent_nothing`. Left out: `original`.",
                choices=("fill", "original", "latent_noise", "latent_nothing"),
            ),
            Parameter("invert", "bool", "Generate the dark part of the mask anew."),
            Parameter("only_masked", "bool", "Generate only the masked area, at the full size, and paste it back."),
            Parameter(
                "padding_px",
                "int",
                "How far `only_masked` sees beyond the mask, in pixels. From 0 to 256. Left out: `32`.",
            ),
        ),
    ),
    Parameter(
        "controls",
        "object",
        "ControlNets, at most 4.",
        is_list=True,
        fields=(
            Parameter("model", "str", "A name or alias from `GET /v1/controlnets`."),
            Parameter(
                "image",
                "image",
                "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated. Left out: the image that the job starts from.",
            ),
            Parameter("preprocessor", "str", "A name from `GET /v1/preprocessors`. Left out: `none`."),
            Parameter(
                "threshold_a",
                "float",
                "The listing of the preprocessor says what it means. Left out: the preprocessor's default.",
            ),
            Parameter(
                "threshold_b",
                "float",
                "The listing of the preprocessor says what it means. Left out: the preprocessor's default.",
            ),
            Parameter("weight", "float", "How strong it is. From 0 to 2. Left out: `1.0`."),
            Parameter("start", "float", "The share of the steps after which it begins. From 0 to 1. Left out: `0.0`."),
            Parameter("end", "float", "The share of the steps after which it stops. From 0 to 1. Left out: `1.0`."),
            Parameter(
                "mode",
                "str",
                "Whether the prompt or the ControlNet has more influence. One of `balanced`, `prompt`, `control`. Left out: `balanced`.",
                choices=("balanced", "prompt", "control"),
            ),
            Parameter(
                "resize_mode",
                "str",
                "How its image is brought to the size of the job. One of `stretch`, `crop`, `fill`. Left out: `crop`.",
                choices=("stretch", "crop", "fill"),
            ),
        ),
    ),
    Parameter(
        "second_pass",
        "object",
        "Enlarge the generated image and run img2img on it. Left out: none.",
        fields=(
            Parameter(
                "scale",
                "float",
                "Factor of the enlargement; width and height may reach twice the model's `max_px`. From 1 to 4. Left out: `2.0`.",
            ),
            Parameter("upscaler", "str", "A name from `GET /v1/upscalers`. Left out: `Lanczos`."),
            Parameter(
                "strength",
                "float",
                "The share of the noise schedule that is run; at least one step. From 0 to 1. Left out: `0.5`.",
            ),
            Parameter(
                "num_inference_steps",
                "int",
                "From 1 to the model's `max_steps`. At least 1. Left out: as many as in the first pass.",
            ),
        ),
    ),
    Parameter(
        "refiner",
        "object",
        "A second SDXL model that runs the last steps. Left out: none.",
        fields=(
            Parameter("model", "str", "A name or alias from `GET /v1/models`."),
            Parameter(
                "start",
                "float",
                "The share of the noise schedule after which the refiner takes over (diffusers' `denoising_end`). Above 0 and below 1. Left out: `0.8`.",
            ),
        ),
    ),
    Parameter(
        "reuse_interval",
        "int",
        "Compute the deep features of the UNet only at every n-th step (DeepCache); 1 is exact. From 1 to 10. Left out: 1.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
    Parameter(
        "enhance_prompt", "bool", "Let the language model rewrite the prompt. Left out: the preference of the API key."
    ),
    Parameter(
        "enhance_negative_prompt",
        "bool",
        "Let the language model write a negative prompt too, if there is none. Left out: the preference of the API key.",
    ),
    Parameter(
        "metadata",
        "str",
        "What the image file says of how it was generated: `full` is all parameters, and the prompt before it was rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the preference of the API key.",
        choices=("full", "drawn", "none"),
    ),
    Parameter(
        "provenance",
        "str",
        "How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key.",
        choices=("none", "iptc", "c2pa", "watermark"),
    ),
)

UPSCALEPARAMS = (
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter(
        "scale", "float", "Factor of the enlargement; below 1, the image is reduced. From 0.1 to 8. Left out: 2."
    ),
    Parameter("upscaler", "str", "A name from `GET /v1/upscalers`. Left out: `Lanczos`."),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
    Parameter(
        "metadata",
        "str",
        "What the image file says of how it was generated: `full` is all parameters, and the prompt before it was rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the preference of the API key.",
        choices=("full", "drawn", "none"),
    ),
    Parameter(
        "provenance",
        "str",
        "How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key.",
        choices=("none", "iptc", "c2pa", "watermark"),
    ),
)

FACERESTOREPARAMS = (
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
    Parameter(
        "metadata",
        "str",
        "What the image file says of how it was generated: `full` is all parameters, and the prompt before it was rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the preference of the API key.",
        choices=("full", "drawn", "none"),
    ),
    Parameter(
        "provenance",
        "str",
        "How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key.",
        choices=("none", "iptc", "c2pa", "watermark"),
    ),
)

CLASSIFYPARAMS = (
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter(
        "model",
        "str",
        "A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the first of them.",
    ),
    Parameter("top_k", "int", "How many labels. From 1 to 100. Left out: 5."),
    Parameter(
        "multi_label",
        "bool",
        "Whether each label has a probability of its own (sigmoid); otherwise they add up to 1 (softmax). Left out: false.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

EMBEDPARAMS = (
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter(
        "model",
        "str",
        "A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the first of them.",
    ),
    Parameter(
        "output",
        "str",
        "`pooled` is one vector in the result; `features` is all that the model has before it pools, as a NumPy file. One of `pooled`, `features`. Left out: `pooled`.",
        choices=("pooled", "features"),
    ),
    Parameter("normalize", "bool", "Whether the pooled vector is divided by its length. Left out: true."),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

SIMILARITYPARAMS = (
    Parameter(
        "image",
        "image",
        "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
    ),
    Parameter("others", "image", "Images to compare it with, at most 16.", is_list=True),
    Parameter(
        "texts",
        "str",
        "Descriptions to compare it with, at most 16, by a model that reads texts, as `photogram-eyes` does.",
        is_list=True,
    ),
    Parameter(
        "model",
        "str",
        "A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the first of them.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

DESCRIBEMODELPARAMS = (
    Parameter(
        "model",
        "str",
        "A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the first of them.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

FINETUNEPARAMS = (
    Parameter(
        "data",
        "image",
        "The images: `input:<sha256>` of a zip archive from `POST /v1/archives`, or Base64 of one. It has a folder of images for each label, or folders `train` and `val` of these, or one CSV file with the columns `path` and `label`. Left out: `images`.",
    ),
    Parameter(
        "images",
        "object",
        "The images in place of `data`, at most 2000.",
        is_list=True,
        fields=(
            Parameter(
                "image",
                "image",
                "`input:<sha256>` from `POST /v1/inputs`, `image:<id>` of an image that this server generated, or Base64.",
            ),
            Parameter(
                "label",
                "str",
                "Its label, or several separated by `;`, which makes the model multi-label; of a multi-label model it may be empty, for an image with none of the labels.",
            ),
        ),
    ),
    Parameter(
        "model",
        "str",
        "A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the first of them.",
    ),
    Parameter(
        "name",
        "str",
        "The name of the new vision model in the catalog. Left out: it is not added, only its files are made.",
    ),
    Parameter(
        "multi_label", "bool", "Whether an image may have several labels, or none. Left out: true if one has several."
    ),
    Parameter(
        "full",
        "bool",
        "Whether all weights are trained, over images that timm augments; otherwise only the classifier is. Left out: false.",
    ),
    Parameter("epochs", "int", "How many epochs at most. From 1 to 1000. Left out: 30."),
    Parameter("patience", "int", "Stop after so many epochs without a better one. From 1 to 1000. Left out: 5."),
    Parameter("batch_size", "int", "Images of a step. From 2 to 1024. Left out: 32."),
    Parameter("learning_rate", "float", "Of AdamW. Above 0 and at most 10. Left out: 0.01, or 0.001 with `full`."),
    Parameter(
        "held_out",
        "float",
        "The share of the images that the model is judged by, unless the data has a folder `val`. From 0.01 to 0.9. Left out: 0.2.",
    ),
    Parameter("seed", "int", "Of all random choices. From 0 to 2147483647. Left out: 0."),
    Parameter(
        "min_scale",
        "float",
        "With `full`: the smallest part of an image that an augmented one shows. From 0.01 to 1. Left out: 0.35.",
    ),
    Parameter("flip", "bool", "With `full`: whether augmented images may be mirrored. Left out: true."),
    Parameter(
        "augment", "str", "With `full`: a policy of timm, such as `rand-m9-mstd0.5`. Left out: changes of colour."
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

DEPLOYPARAMS = (
    Parameter("model", "str", "A name or alias from `GET /v1/models`, of a vision model or of an upscaler."),
    Parameter(
        "backend",
        "str",
        "The inference backend, which the worker must have. One of `openvino`, `onnxruntime`, `aoti`, `tensorrt`. Left out: `openvino`.",
        choices=("openvino", "onnxruntime", "aoti", "tensorrt"),
    ),
    Parameter(
        "precision",
        "str",
        "Of the weights and of what is computed with them; not every backend has all. One of `f32`, `bf16`, `fp16`, `int8`, `w4`, `fp8`. Left out: `f32`.",
        choices=("f32", "bf16", "fp16", "int8", "w4", "fp8"),
    ),
    Parameter(
        "steps",
        "int",
        "Of each image that is drawn to record, to check and to measure; only for models that draw. From 1 to 1000. Left out: the model's.",
    ),
    Parameter(
        "parts",
        "str",
        "Only these parts of a model that draws; torch runs the others. None are all. The parts are `text_encoder`, `text_encoder_2`, `text_encoder_3`, `unet`, `transformer`, `vae_decoder`, `vae_encoder`.",
        is_list=True,
    ),
    Parameter(
        "shapes",
        "str",
        "The sizes that images may have besides the default, such as `512x768`; only for models that draw. None are a choice of several.",
        is_list=True,
    ),
    Parameter(
        "loras",
        "object",
        "LoRAs that are baked in; images with just these LoRAs and weights use the package. Only for models that draw.",
        is_list=True,
        fields=(
            Parameter("name", "str", "A name or alias from `GET /v1/loras`."),
            Parameter("weight", "float", "How strong it is. From -10 to 10. Left out: `1.0`."),
            Parameter(
                "text_encoder_weight",
                "float",
                "How strong it is in the text encoders. From -10 to 10. Left out: `weight`.",
            ),
        ),
    ),
    Parameter("force", "bool", "Whether the package is used even if it does not pass its checks. Left out: false."),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

AGENTPARAMS = (
    Parameter("brief", "str", "What to make, in words, at most 4000 characters. Left out: `replay`."),
    Parameter(
        "files",
        "image",
        "Images that the brief is about, at most 8. An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated.",
        is_list=True,
    ),
    Parameter(
        "budget",
        "object",
        "What it may use at most. Left out: 100 steps, 24 images, 30 minutes.",
        fields=(
            Parameter(
                "steps", "int", "Calls of tools and of the language model together. From 1 to 500. Left out: `100`."
            ),
            Parameter(
                "images",
                "int",
                "Images that are drawn or enlarged, each candidate of `best_of` too. From 0 to 200. Left out: `24`.",
            ),
            Parameter(
                "seconds",
                "int",
                "Seconds of work; waiting for a person is not counted. From 1 to 86400. Left out: `1800`.",
            ),
            Parameter(
                "cost_units",
                "float",
                "Megapixel-steps of all its jobs, as `GET /v1/usage` counts them. From 0 to 1000000. Left out: `10000.0`.",
            ),
        ),
    ),
    Parameter(
        "mode",
        "str",
        "Whether it may ask a person: `auto` decides everything by itself, `ask` asks where it needs an answer, `approve` also asks before each job that draws. One of `auto`, `ask`, `approve`. Left out: `auto`.",
        choices=("auto", "ask", "approve"),
    ),
    Parameter(
        "planner",
        "str",
        "Who plans: a `template`, whose slots are filled from the brief; the `language` model, which must be one that calls tools; `auto` takes a template if one fits, or else the language model. One of `auto`, `template`, `language`. Left out: `auto`.",
        choices=("auto", "template", "language"),
    ),
    Parameter("model", "str", "The model that draws where the plan names none. Left out: the server's default."),
    Parameter(
        "seed", "int", "All seeds of its jobs follow from it. From 0 to 9007199254740991. Left out: a random one."
    ),
    Parameter(
        "replay",
        "str",
        "The id of an earlier agent job that succeeded: what its language model and its people said is taken from its record, its jobs run again with the same seeds. Left out: `brief`.",
    ),
    Parameter(
        "priority",
        "int",
        "Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2.",
    ),
)

KINDS = (
    Kind(
        "txt2img",
        "Generate an image from a prompt.",
        "images",
        PARAMS,
        required=("prompt",),
        ignored=("image", "strength", "resize_mode", "mask"),
    ),
    Kind(
        "img2img",
        "Generate an image from a prompt and another image.",
        "images",
        PARAMS,
        required=("prompt", "image"),
        ignored=("mask",),
    ),
    Kind(
        "inpaint",
        "Generate a part of an image anew.",
        "images",
        PARAMS,
        required=("prompt", "image", "mask"),
        ignored=(),
    ),
    Kind("upscale", "Enlarge an image.", "images", UPSCALEPARAMS, required=("image",), ignored=()),
    Kind(
        "face_restore", "Restore the faces in an image.", "images", FACERESTOREPARAMS, required=("image",), ignored=()
    ),
    Kind("classify", "Label an image.", "document", CLASSIFYPARAMS, required=("image",), ignored=()),
    Kind("embed", "Turn an image into a vector.", "document", EMBEDPARAMS, required=("image",), ignored=()),
    Kind(
        "similarity",
        "Compare an image with others, or with texts.",
        "document",
        SIMILARITYPARAMS,
        required=("image",),
        ignored=(),
    ),
    Kind("describe_model", "Say what a vision model is.", "document", DESCRIBEMODELPARAMS, required=(), ignored=()),
    Kind(
        "finetune",
        "Give a vision model a classifier for labels of your own.",
        "document",
        FINETUNEPARAMS,
        required=(),
        ignored=(),
    ),
    Kind(
        "deploy",
        "Export a model to an inference backend, check the result, and have workers use it.",
        "document",
        DEPLOYPARAMS,
        required=("model",),
        ignored=(),
    ),
    Kind(
        "agent",
        "Make images from a brief, by a plan, tools and checks.",
        "document",
        AGENTPARAMS,
        required=(),
        ignored=(),
    ),
)

OPTIONS = (
    Parameter(
        "start_within_s",
        "int",
        "A job that no worker has started after so many seconds fails with `start_timeout` and costs nothing. From 1 to 604800.",
    ),
    Parameter(
        "cancel_after_s",
        "int",
        "A job that has not ended so many seconds after it was accepted is canceled. From 1 to 604800.",
    ),
    Parameter("retries", "int", "How often the job runs again after an `internal_error`. From 0 to 5. Left out: `0`."),
    Parameter(
        "retain_s",
        "int",
        "Record, images and files are removed so many seconds after the end of the job. From 1 to 315360000. Left out: as long as the server keeps them.",
    ),
    Parameter("tags", "str", "Words of your own to find the job by, each of 1 to 64 characters.", is_list=True),
    Parameter(
        "metadata",
        "dict",
        "Up to 16 values of your own to find the job by. A key has 1 to 64 letters, digits, `_`, `.` and `-`, a value at most 500 characters; with the tags at most 4096 bytes of JSON.",
    ),
)
