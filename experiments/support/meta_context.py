"""Meta-test of a VAE that is conditioned on an embedding of the task: no steps."""

_EXAMPLES = 10  # of a training character, for its embedding


class Conditioned:
    """A trained network with a context input, compiled for one study.

    Args:
        study: `meta_vae.Study`.
        network: of `networks.meta`.
    """

    def __init__(self, study, network):
        import tensorflow as tf

        from gan_transfer import few_shot_vae
        from gan_transfer.networks import meta

        self.study, self.key = study, tf.constant([study.split.seed, 0])
        objective = few_shot_vae.ContextBound(study.latent_dim, 1)
        bounds = (
            few_shot_vae.MinusBound(study.latent_dim),
            study.adapter("context").bounds[1],
        )
        sampler = meta.sampler(network)

        shape = [None, *network.inputs[0].shape[1:]]

        @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape)])
        def embed(images):
            return objective.context(network, images, self.key)

        @tf.function(autograph=False)
        def measure(vector, query, noise):
            vectors = tf.repeat(vector[None], tf.shape(query)[0], axis=0)
            # The draws of the held-out drawings are those of the other methods.
            key = self.key + [0, 1]
            values = [each(network, (query, vectors), key) for each in bounds]
            return *values, sampler([noise, vectors])

        self._embed, self._measure = embed, measure

    def embedding(self, task, count: int):
        """The context of the first `count` drawings of a character; 0: zeros."""
        import tensorflow as tf

        if not count:
            return tf.zeros(self.study.latent_dim)
        (images,), _ = self.study.split.divided(task, count)
        return self._embed(tf.constant(images))

    def measure(self, found: dict, number: int, row: int, vector) -> None:
        """Write what test character `number` gets with a context into `found`."""
        import tensorflow as tf

        from gan_transfer import data

        _, (query,) = self.study.split.divided(self.study.split.test[number], 1)
        noise = tf.constant(self.study.noise(number))
        *values, pictures = self._measure(vector, tf.constant(query), noise)
        place = number, row, 0
        found["bound"][place], found["weighted"][place] = map(float, values)
        found["samples"][place] = data.to_uint8(pictures.numpy())


def test(study, network) -> dict:
    """What the network makes of 0 and more examples of every test character.

    Returns:
        As of `meta_vae.Study.test`, at 0 steps.
    """
    conditioned = Conditioned(study, network)
    found = study.empty(study.split.test)
    for number, task in enumerate(study.split.test):
        for row, count in enumerate(study.settings.shots):
            vector = conditioned.embedding(task, count)
            conditioned.measure(found, number, row, vector)
    return found


class Alphabets:
    """Class embeddings: the mean context of an alphabet's training characters."""

    def __init__(self, conditioned, training: list):
        self._known = {}
        for task in training:
            vector = conditioned.embedding(task, _EXAMPLES)
            self._known.setdefault(task.descriptor["group"], []).append(vector)

    def __call__(self, task):
        """The vector of a task's alphabet; of an unknown one the mean of all tasks."""
        import tensorflow as tf

        every = [vector for vectors in self._known.values() for vector in vectors]
        known = self._known.get(task.descriptor["group"], every)
        return tf.reduce_mean(known, axis=0)


def zero_shot(study, network) -> dict:
    """Every test character by its descriptor alone, without an example.

    Whole alphabets are held out, so the test's are all unknown to `Alphabets`: what is
    measured is the mean embedding, one and the same for every character.

    Returns:
        As of `meta_vae.Study.test`, with 0 examples and 0 steps only.
    """
    conditioned = Conditioned(study, network)
    alphabets = Alphabets(conditioned, study.split.training)
    found = study.empty(study.split.test)
    for number, task in enumerate(study.split.test):
        conditioned.measure(found, number, 0, alphabets(task))
    return found
