"""A synthetic world of talking faces: a performance first, then both modalities from it.

``clips`` says which clips a set has, ``actors`` who speaks. ``emotions`` tables what an emotion
does to a face and to a voice, ``utterance`` times the sounds of a statement, ``performance``
draws one clip from them. ``face`` draws its pictures, ``voice`` makes its sound.
"""
