    return Object.freeze({
      role, name, description, interactive, cached, walk, element, ref, find, rect,
      isRendered, isExposed, isAriaHidden, isInert, isTransparent, isFocusable, isDisabled, isVisible: isRendered,
      value: (node) => valueOf(node, role(node)), checked: (node) => checkedOf(node, role(node)),
      level: (node) => levelOf(node, role(node)), labels: (node) => [...labelsOf(node)],
      text: (node) => collapse(plainText(node)), flatParent,
      count, named, aim, frameAt, showFrame, focusOn, prepareTyping, prepareFill, finishFill, choose, checkState, clickDirectly,
      scrollFrom, waitFor, readText, fact, frameOf, framesIn, pathsOf, labelled, originOf, pageRect, told, dismissBanners, survey,
    });
  })() });
}
void 0;
