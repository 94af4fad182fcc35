"""The world that the mini model knows: what a frame can hold, how it is drawn, how it is told.

    world     the attributes of a frame and which combinations are kept out of training
    pen       colours and inked shapes
    figure    the character with its outfit and accessory
    places    backgrounds, sky and props
    frame     a whole frame from attributes and a seed
    captions  sentences that tell a frame
"""
